# Makes the certificates of the cluster.
# shellcheck shell=sh

require "$(/opt/jupyter/bin/python -I /opt/labdock/cluster/authority.py)"
