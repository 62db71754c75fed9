# SPDX-License-Identifier: Apache-2.0
# One project at the fake provider: what exists in it, what is under way, and what each call does to it.
import base64
import hashlib
import re
import struct
import time

import catalog
from description import check_labels, selector_matches

HOSTNAME = re.compile(r"[a-z0-9A-Z]([a-z0-9A-Z-]{0,61}[a-z0-9A-Z])?(\.[a-z0-9A-Z]([a-z0-9A-Z-]{0,61}[a-z0-9A-Z])?)*")
USER_DATA_LIMIT = 32 * 1024
BIGGEST_PAGE = 50


class Refused(Exception):
    """An answer that is an error; nothing was changed."""

    def __init__(self, status, code, message, details=None):
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details


def now_text():
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())


def find(items, wanted, missing="invalid_input", what="resource"):
    """By id or name; a name of several (one image for each architecture) gives all of them."""
    hits = [x for x in items if wanted in (x["id"], x["name"]) or (isinstance(wanted, str) and wanted == str(x["id"]))]
    if not hits:
        raise Refused(422 if missing == "invalid_input" else 404, missing, "%s %s not found" % (what, wanted))
    return hits


def fingerprint_of(public_key):
    words = public_key.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
        (length,) = struct.unpack(">I", blob[:4])
        if words[0] != blob[4:4 + length].decode() or (words[0] == "ssh-ed25519" and len(blob) != 51):
            raise ValueError("kind")
    except (IndexError, ValueError, struct.error, UnicodeDecodeError) as error:
        raise Refused(422, "invalid_input", "invalid public key") from error
    digest = hashlib.md5(blob).hexdigest()
    return ":".join(digest[i:i + 2] for i in range(0, 32, 2))


class Project:
    KINDS = ("servers", "ssh_keys", "primary_ips", "volumes", "firewalls")

    def __init__(self):
        self.next_id = 1000
        self.tables = {kind: {} for kind in self.KINDS}
        self.actions = {}
        self.effects = {}  # action id → (due, effect)
        self.action_ms = 10
        self.page_cap = BIGGEST_PAGE
        self.passwords_mailed = 0
        self.served = {"locations": catalog.LOCATIONS, "server_types": catalog.SERVER_TYPES,
                       "images": catalog.IMAGES, "datacenters": catalog.DATACENTERS}

    def new_id(self):
        self.next_id += 1
        return self.next_id

    # --- actions --------------------------------------------------------------------------------------------
    def start_action(self, command, resources, milliseconds, effect=None, failure=None):
        action = {
            "id": self.new_id(), "command": command, "status": "running", "progress": 0, "started": now_text(),
            "finished": None, "error": None, "resources": [{"id": i, "type": t} for t, i in resources],
        }
        self.actions[action["id"]] = action
        self.effects[action["id"]] = (time.monotonic() + milliseconds / 1000, effect, failure)
        return action

    def settle(self):
        """Lets every action whose time has come take effect."""
        for number, (due, effect, failure) in sorted(self.effects.items(), key=lambda item: item[1][0]):
            if time.monotonic() < due:
                continue
            del self.effects[number]
            action = self.actions[number]
            action["finished"] = now_text()
            if failure:
                action["status"], action["error"] = "error", {"code": failure, "message": "Action failed"}
            else:
                action["status"], action["progress"] = "success", 100
                if effect:
                    effect()

    # --- reading --------------------------------------------------------------------------------------------
    def get(self, kind, number):
        number = int(number) if re.fullmatch(r"[0-9]{1,16}", number) else -1
        if kind in self.served:
            return find(self.served[kind], number, "not_found", kind)[0]
        table = self.actions if kind == "actions" else self.tables[kind]
        if number not in table:
            raise Refused(404, "not_found", "%s with ID '%d' not found" % (kind.rstrip("s"), number))
        return table[number]

    def listing(self, kind, query):
        items = self.served.get(kind) or sorted(self.tables[kind].values(), key=lambda item: item["id"])
        for field in ("name", "status", "type", "architecture", "fingerprint", "ip"):
            if field in query:
                items = [x for x in items if x[field] in query[field]]
        if "label_selector" in query:
            try:
                selector_matches(query["label_selector"][0], {})  # malformed is malformed of an empty list, too
                items = [x for x in items if selector_matches(query["label_selector"][0], x["labels"])]
            except ValueError as error:
                raise Refused(422, "invalid_input", str(error)) from error
        page, size = int(query.get("page", ["1"])[0]), int(query.get("per_page", ["25"])[0])
        if page < 1 or size < 1 or size > BIGGEST_PAGE:
            raise Refused(422, "invalid_input", "page or per_page out of range")
        size = min(size, self.page_cap)
        last = max(1, (len(items) + size - 1) // size)
        answer = {kind: items[(page - 1) * size:page * size], "meta": {"pagination": {
            "page": page, "per_page": size, "previous_page": page - 1 if page > 1 else None,
            "next_page": page + 1 if page < last else None, "last_page": last, "total_entries": len(items)}}}
        if kind == "datacenters":
            answer["recommendation"] = 1
        return answer

    # --- writing --------------------------------------------------------------------------------------------
    def check_new(self, kind, body):
        problems = check_labels(body.get("labels"))
        if problems:
            raise Refused(422, "invalid_input", "; ".join(problems))
        if any(item["name"] == body["name"] for item in self.tables[kind].values()):
            raise Refused(409, "uniqueness_error", "%s name is already used" % kind.rstrip("s"))

    def add(self, kind, item):
        item.setdefault("id", self.new_id())
        self.tables[kind][item["id"]] = item
        return item

    def create_ssh_key(self, body):
        self.check_new("ssh_keys", body)
        fingerprint = fingerprint_of(body["public_key"])
        if any(key["fingerprint"] == fingerprint for key in self.tables["ssh_keys"].values()):
            raise Refused(409, "uniqueness_error", "SSH key with the same fingerprint already exists")
        key = self.add("ssh_keys", {
            "name": body["name"], "fingerprint": fingerprint, "public_key": body["public_key"],
            "labels": dict(body.get("labels", {})), "created": now_text()})
        return {"ssh_key": key}

    def create_firewall(self, body):
        self.check_new("firewalls", body)
        rules = [{"description": None, "destination_ips": [], "source_ips": [], "port": None, **rule}
                 for rule in body.get("rules", [])]
        firewall = self.add("firewalls", {
            "name": body["name"], "labels": dict(body.get("labels", {})), "created": now_text(), "rules": rules,
            "applied_to": []})
        return {"firewall": firewall, "actions": []}

    def choose(self, body):
        """The type, location and image of a new server, or the refusal."""
        kind = find(catalog.SERVER_TYPES, body["server_type"], what="server type")[0]
        places = find(catalog.LOCATIONS, body["location"], what="location") if "location" in body else catalog.LOCATIONS
        sold = [place for place in places if place["name"] in [x["name"] for x in kind["locations"]]]
        if not sold:
            raise Refused(422, "invalid_input", "unsupported location for server type")
        images = find(catalog.IMAGES, body["image"], what="image")
        fitting = [image for image in images if image["architecture"] == kind["architecture"]]
        if not fitting:
            raise Refused(422, "invalid_input", "image and server type have incompatible architecture")
        return kind, sold[0], fitting[0]

    def create_server(self, body, twist):
        if not HOSTNAME.fullmatch(body["name"]) or len(body["name"]) > 253:
            raise Refused(422, "invalid_input", "invalid input in field 'name'", {
                "fields": [{"name": "name", "messages": ["is not a valid hostname"]}]})
        self.check_new("servers", body)
        kind, place, image = self.choose(body)
        keys = [find(self.tables["ssh_keys"].values(), k, what="SSH key")[0] for k in body.get("ssh_keys", [])]
        walls = [self.get("firewalls", str(wall["firewall"])) for wall in body.get("firewalls", [])]
        if len(body.get("user_data", "").encode()) > USER_DATA_LIMIT:
            raise Refused(422, "invalid_input", "user_data is too large")
        net = body.get("public_net", {})
        server = self.add("servers", {
            "name": body["name"], "status": "initializing", "created": now_text(), "server_type": kind, "image": image,
            "location": place, "datacenter": find(catalog.DATACENTERS, place["id"])[0], "iso": None, "locked": False,
            "labels": dict(body.get("labels", {})), "backup_window": None, "included_traffic": 21990232555520,
            "ingoing_traffic": 0, "outgoing_traffic": 0, "primary_disk_size": kind["disk"], "private_net": [],
            "protection": {"delete": False, "rebuild": False}, "rescue_enabled": False, "volumes": [],
            "load_balancers": [], "placement_group": None,
            "public_net": {"firewalls": [{"id": w["id"], "status": "applied"} for w in walls], "floating_ips": [],
                           "ipv4": None, "ipv6": None}})
        if twist != "no_address":
            for family in ("ipv4", "ipv6"):
                if net.get("enable_" + family, True):
                    self.give_address(server, family)
        for wall in walls:
            wall["applied_to"].append({"type": "server", "server": {"id": server["id"]}})
        password = None
        if not keys:
            self.passwords_mailed += 1
            password = "YItygq1v3GYjjMomLaKc"
        return {"server": server, "root_password": password, **self.boot(server, body, twist)}

    def boot(self, server, body, twist):
        number = server["id"]
        made = self.start_action(
            "create_server", [("server", number)], self.action_ms, lambda: server.update(status="off"),
            "action_failed" if twist == "failed_action" else None)
        following = []
        if body.get("start_after_create", True) and twist not in ("failed_action", "never_running"):
            following = [self.start_action("start_server", [("server", number)], self.action_ms + 5,
                                           lambda: server.update(status="running"))]
        return {"action": made, "next_actions": following}

    def give_address(self, server, family):
        number = self.new_id()
        address = "203.0.113.%d" % (number % 254 + 1) if family == "ipv4" else "2001:db8:%x::/64" % number
        pointer = "static.%d.clients.example.com" % number
        self.add("primary_ips", {
            "id": number, "name": "primary_ip-%d" % number, "type": family, "ip": address, "labels": {},
            "assignee_id": server["id"], "assignee_type": "server", "auto_delete": True, "blocked": False,
            "created": now_text(), "datacenter": server["datacenter"], "location": server["location"],
            "dns_ptr": [], "protection": {"delete": False}})
        server["public_net"][family] = {
            "id": number, "ip": address, "blocked": False, "dns_ptr": pointer if family == "ipv4" else []}

    def power_on(self, server):
        return {"action": self.start_action(
            "start_server", [("server", server["id"])], self.action_ms, lambda: server.update(status="running"))}

    def replace(self, kind, number, body):
        item = self.get(kind, number)
        problems = check_labels(body.get("labels"))
        if problems:
            raise Refused(422, "invalid_input", "; ".join(problems))
        item.update(body)
        return {kind.removesuffix("s"): item}

    def delete(self, kind, number, twist):
        item = self.get(kind, number)
        if item.get("protection", {}).get("delete"):
            raise Refused(403, "protected", "the resource is protected from deletion")
        if kind == "servers":
            return self.delete_server(item, twist)
        if kind == "primary_ips" and item["assignee_id"] is not None:
            raise Refused(422, "must_be_unassigned", "the Primary IP is assigned to a resource")
        if kind == "volumes" and item["server"] is not None:
            raise Refused(409, "conflict", "the volume is attached to a server")
        if kind == "firewalls" and item["applied_to"]:
            raise Refused(422, "resource_in_use", "the firewall is applied to a resource")
        del self.tables[kind][item["id"]]
        return None

    def delete_server(self, server, twist):
        if server["locked"]:
            raise Refused(423, "locked", "the server is locked by another action")
        server["status"] = "deleting"
        number = server["id"]

        def vanish():
            self.tables["servers"].pop(number, None)
            for ip in list(self.tables["primary_ips"].values()):
                if ip["assignee_id"] == number:
                    ip["assignee_id"] = None
                    if ip["auto_delete"] and twist != "ip_stays":
                        del self.tables["primary_ips"][ip["id"]]
            for volume in self.tables["volumes"].values():
                if volume["server"] == number:
                    volume["server"] = None
            for wall in self.tables["firewalls"].values():
                wall["applied_to"] = [a for a in wall["applied_to"] if a["server"]["id"] != number]

        # What else was under way for it ends with it.
        for action in [a for a in self.effects if self.actions[a]["resources"][0]["id"] == number]:
            self.effects[action] = (0, None, "action_failed")
        failure = "action_failed" if twist == "failed_action" else None
        return {"action": self.start_action("delete_server", [("server", number)], self.action_ms, vanish, failure)}
