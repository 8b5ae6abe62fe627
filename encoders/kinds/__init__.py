"""What encoders take, one file each: how such an image is recognised, read, checked and described."""
