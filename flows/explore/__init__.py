"""`guidestore explore`: a page of codes and cases over the index of a store. It reads, and nothing there writes."""
