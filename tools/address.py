"""Where the template is published: the one address that docs and tests use. OWNER is a placeholder until then."""

TEMPLATE = "gh:OWNER/labdock"  # as Copier takes it
REPOSITORY = f"https://github.com/{TEMPLATE.removeprefix('gh:')}"
CLONE = f"{REPOSITORY}.git"  # what Copier makes of TEMPLATE
