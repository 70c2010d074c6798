"""The address of the template, for docs and tests. OWNER is a placeholder until the template is published."""

TEMPLATE = "gh:OWNER/labdock"  # the short form, for Copier
REPOSITORY = f"https://github.com/{TEMPLATE.removeprefix('gh:')}"
CLONE = f"{REPOSITORY}.git"  # the address to which Copier expands TEMPLATE
