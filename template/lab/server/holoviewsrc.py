"""Makes plots of holoviews put their JavaScript into the notebook, so that the plots need no internet."""

import holoviews

holoviews.notebook_extension.inline = True
