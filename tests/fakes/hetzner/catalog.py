# SPDX-License-Identifier: Apache-2.0
# What the fake provider sells: locations, types of server and images, in the shapes of its description.
"""Names and sizes follow the public price list; one type is of another architecture and one is not sold everywhere."""
CREATED = "2024-01-30T23:55:00Z"


def location(number, name, city, country, zone):
    return {
        "id": number, "name": name, "description": city + " DC Park 1", "city": city, "country": country,
        "latitude": 50.5, "longitude": 12.4, "network_zone": zone,
    }


LOCATIONS = [
    location(1, "fsn1", "Falkenstein", "DE", "eu-central"),
    location(2, "nbg1", "Nuremberg", "DE", "eu-central"),
    location(3, "hel1", "Helsinki", "FI", "eu-central"),
    location(4, "ash", "Ashburn, VA", "US", "us-east"),
]


def server_type(number, name, cores, memory, disk, where, architecture="x86", cpu_type="shared"):
    price = {"gross": "0.0071400000000000", "net": "0.0060000000"}
    here = [place for place in LOCATIONS if place["name"] in where]
    return {
        "id": number, "name": name, "description": name.upper(), "cores": cores, "memory": memory, "disk": disk,
        "cpu_type": cpu_type, "storage_type": "local", "architecture": architecture, "deprecated": False,
        "deprecation": None, "category": "Shared vCPU",
        "locations": [{"id": place["id"], "name": place["name"], "deprecation": None} for place in here],
        "prices": [
            {"location": place["name"], "price_hourly": price, "price_monthly": price,
             "included_traffic": 21990232555520, "price_per_tb_traffic": price}
            for place in here
        ],
    }


EUROPE = ("fsn1", "nbg1", "hel1")
SERVER_TYPES = [
    server_type(1, "cx22", 2, 4.0, 40, EUROPE),
    server_type(2, "cx32", 4, 8.0, 80, EUROPE),
    server_type(3, "cpx11", 2, 2.0, 40, EUROPE + ("ash",)),
    server_type(4, "ccx13", 2, 8.0, 80, EUROPE + ("ash",), cpu_type="dedicated"),
    server_type(5, "cax11", 2, 4.0, 40, EUROPE, architecture="arm"),
    server_type(6, "cx92", 64, 256.0, 960, ("hel1",)),
]


def image(number, name, flavor, version, architecture):
    return {
        "id": number, "name": name, "description": name, "type": "system", "status": "available",
        "architecture": architecture, "os_flavor": flavor, "os_version": version, "disk_size": 5, "image_size": None,
        "bound_to": None, "created": CREATED, "created_from": None, "deleted": None, "deprecated": None, "labels": {},
        "protection": {"delete": False}, "rapid_deploy": True,
    }


IMAGES = [
    image(101, "debian-12", "debian", "12", "x86"),
    image(102, "ubuntu-24.04", "ubuntu", "24.04", "x86"),
    image(103, "debian-12", "debian", "12", "arm"),
]
DATACENTERS = [
    {
        "id": place["id"], "name": place["name"] + "-dc1", "description": place["city"] + " DC 1", "location": place,
        "server_types": {
            kind: [t["id"] for t in SERVER_TYPES if place["name"] in [x["name"] for x in t["locations"]]]
            for kind in ("available", "available_for_migration", "supported")
        },
    }
    for place in LOCATIONS
]
