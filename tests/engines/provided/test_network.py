"""Removing Docker's firewall rules leaves all other rules."""

from engine.network import without_docker

RULES = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A INPUT -i eth0 -p tcp --dport 22 -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -i virbr0 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
COMMIT
*nat
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.18.0.0/16 ! -o br-0123456789ab -j MASQUERADE
-A POSTROUTING -s 10.0.0.0/8 -o eth0 -j MASQUERADE
COMMIT
"""
KEPT = """*filter
:INPUT ACCEPT [0:0]
:FORWARD {} [0:0]
-A INPUT -i eth0 -p tcp --dport 22 -j ACCEPT
-A FORWARD -i virbr0 -j ACCEPT
COMMIT
*nat
-A POSTROUTING -s 10.0.0.0/8 -o eth0 -j MASQUERADE
COMMIT
"""


def test_only_dockers_rules_are_removed():
    assert without_docker(RULES, policy="ACCEPT") == KEPT.format("ACCEPT")


def test_an_earlier_policy_stays():
    assert without_docker(RULES, policy="DROP") == KEPT.format("DROP")


def test_without_docker_nothing_changes():
    assert without_docker(KEPT.format("ACCEPT"), policy="ACCEPT") == KEPT.format("ACCEPT")
