"""The colours of all figures: Okabe and Ito's, which the colour-blind tell apart."""

INK = "#010203"
"""Black; in the report it becomes the page's text colour, dark or light."""

OKABE_ITO = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "vermilion": "#D55E00",
}

ROW_COLOURS = {
    "S+I": INK,
    "S": OKABE_ITO["vermilion"],
    "I": OKABE_ITO["blue"],
    "G(I)": OKABE_ITO["orange"],
    "G(I)+I": OKABE_ITO["green"],
    "T(I)": OKABE_ITO["purple"],
}
"""Of input rows."""

CONTROL_COLOUR = "#999999"
