# Prints what is wrong with LAB_DOWNLOADS, or nothing. `setting` comes from the script that reads this file.
# shellcheck shell=sh
value=$(setting LAB_DOWNLOADS)
matches "${value:-on}" 'on|off' || echo "LAB_DOWNLOADS is '$value', not on or off. Set it to on or off in .env."
