"""What labdock costs, measured against the image that articles usually build: `make bench`."""
