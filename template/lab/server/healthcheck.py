"""Succeed only where the server really answers: a listening port or a log line is not enough."""

import http.client
import sys

connection = http.client.HTTPConnection("127.0.0.1", 8888, timeout=4)
connection.request("GET", "/api")
sys.exit(connection.getresponse().status != 200)
