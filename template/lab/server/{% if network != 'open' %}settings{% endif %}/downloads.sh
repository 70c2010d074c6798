# Prints what is wrong with LAB_DOWNLOADS, or nothing. `setting` comes from the script that reads this file.
# shellcheck shell=sh
value=$(setting LAB_DOWNLOADS)
switch_problem LAB_DOWNLOADS "${value:-on}"
