"""Settings of holoviews for all notebooks: its plots put their JavaScript into the notebook."""

import holoviews

holoviews.notebook_extension.inline = True
