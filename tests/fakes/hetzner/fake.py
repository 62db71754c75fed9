#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# A Hetzner Cloud of one's own on loopback: stateful, strict, and as unreliable as a test asks for.
"""fake.py [--token TOKEN] [--port PORT]

Prints {"port": N} when it listens and ends when its standard input closes. The API is below /v1. Every request is held
to hcloud-reduced.json, and so is every answer. Below /_control (no token) a test arranges and looks:

    POST reset     forget everything          POST faults   add to the failure schedule (a list, see fault_of)
    POST settings  {action_ms, page_cap, rate_limit, rate_remaining, rate_reset_s}
    POST plant     {"kind": "servers", "item": {…}} puts a resource there that no request made
    POST kill      {"pid", "at": n, "after": bool}: kill -9 at the n-th request from now
    GET  state     resources, violations by the client, flaws of the fake itself, faults left
    GET  log       every request and its answer
"""
import argparse
import json
import os
import socket
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))  # common/
from common.faults import Kill, next_fault  # noqa: E402
from common.openapi import read_spec  # noqa: E402
from common.threads import Handler, Server, serve  # noqa: E402
from description import Description  # noqa: E402
from project import Project, Refused  # noqa: E402

BODY_LIMIT = 1 << 20


class Fake:
    def __init__(self, token):
        self.token = token
        self.lock = threading.Lock()
        self.description = Description(read_spec("hcloud-reduced.json"))
        self.reset()

    def reset(self):
        self.project = Project()
        self.faults, self.log, self.violations, self.flaws = [], [], [], []
        self.rate_limit, self.rate_remaining, self.rate_reset_s = 3600, 3600, 0
        self.kill = Kill()

    # --- control --------------------------------------------------------------------------------------------
    def control(self, method, name, body):
        if (method, name) == ("POST", "reset"):
            self.reset()
        elif (method, name) == ("POST", "faults"):
            self.faults += body
        elif (method, name) == ("POST", "settings"):
            for key, value in body.items():
                setattr(self if key.startswith("rate_") else self.project, key, value)
        elif (method, name) == ("POST", "plant"):
            self.project.settle()
            item = self.project.add(body["kind"], body["item"])
            return {"id": item["id"]}
        elif (method, name) == ("POST", "kill"):
            self.kill.order = body
        elif (method, name) == ("GET", "state"):
            self.project.settle()
            tables = {kind: list(table.values()) for kind, table in self.project.tables.items()}
            return {**tables, "violations": self.violations, "flaws": self.flaws, "requests": len(self.log),
                    "passwords_mailed": self.project.passwords_mailed,
                    "faults_left": self.faults}
        elif (method, name) == ("GET", "log"):
            return self.log
        else:
            raise Refused(404, "not_found", "no such control")
        return {}

    # --- the API --------------------------------------------------------------------------------------------
    def violation(self, status, code, sentences):
        self.violations += sentences
        raise Refused(status, code, "; ".join(sentences), {"fields": []})

    def request(self, method, path, query, headers, body):
        """(status, answer, extra headers, how to end) of one request; the caller holds the lock."""
        self.kill.now(False)
        self.project.settle()
        route = self.description.route(method, path)
        fault, answer, status, parsed = None, None, 404, None
        try:
            if headers.get("Authorization") != "Bearer " + self.token:
                raise Refused(401, "unauthorized", "unable to authenticate")
            if route is None:
                self.violation(404, "not_found", ["%s %s is not in the description" % (method, path)])
            self.take_rate()
            parsed = self.parse(headers, body)
            problems = self.description.check_query(route[1], query) + self.description.check_body(route[1], parsed)
            if problems:
                self.violation(422, "invalid_input", problems)
            fault = self.fault_of(method, route[0], {**{k: v[0] for k, v in query.items()}, **(parsed or {})})
            if fault.get("kind") == "error":
                raise Refused(fault["status"], fault["code"], fault.get("message", "refused"))
            if fault.get("kind") != "lost_before":
                status, answer = self.perform(method, route, query, parsed, fault)
            if fault.get("kind") == "error_after":
                raise Refused(fault["status"], fault["code"], fault.get("message", "refused"))
        except Refused as refusal:
            status = refusal.status
            answer = {"error": {"code": refusal.code, "message": refusal.message, "details": refusal.details}}
        fault = fault or {}
        if route is not None and fault.get("kind") != "lost_before":
            flaws = self.description.check_answer(route[1], status, answer)
            self.flaws += ["%s %s %d: %s" % (method, path, status, flaw) for flaw in flaws]
        self.kill.now(True)
        self.log.append({"method": method, "path": path, "template": route[0] if route else None, "query": query,
                         "body": parsed, "status": status,
                         "answer": json.loads(json.dumps(answer)), "at": time.monotonic()})
        return status, fault.get("text", answer), self.rate_headers(fault), fault.get("kind")

    def take_rate(self):
        if self.rate_remaining <= 0:
            raise Refused(429, "rate_limit_exceeded", "limit of %d requests per hour reached" % self.rate_limit)
        self.rate_remaining -= 1

    def rate_headers(self, fault):
        reset = self.rate_reset_s or self.rate_limit - self.rate_remaining
        return {"RateLimit-Limit": str(self.rate_limit), "RateLimit-Remaining": str(self.rate_remaining),
                "RateLimit-Reset": str(int(time.time()) + reset), **fault.get("headers", {})}

    def parse(self, headers, body):
        if body is None:
            return None
        if headers.get("Content-Type", "").split(";")[0] != "application/json":
            self.violation(415, "unsupported_media_type", ["the body is not declared as application/json"])
        try:
            return json.loads(body)
        except ValueError:
            self.violation(400, "json_error", ["the body is no JSON"])
            return None

    def fault_of(self, method, template, arguments):
        """{"method", "path" (a template of the description), "when": {member or query parameter: value}, "skip", "times",
        "kind", …}. Kinds: error {status, code, message, headers, text}: refused, nothing done; error_after: done, but
        answered so; lost: done, connection closed; cut: done, connection closed within the answer; lost_before: closed,
        nothing done; slow_action {ms}; failed_action; no_address; never_running; ip_stays."""
        return next_fault(self.faults, lambda fault: fault["method"] == method and fault["path"] == template and
                          all(arguments.get(name) == value for name, value in fault.get("when", {}).items()))

    def perform(self, method, route, query, body, fault):
        template, _, arguments = route
        project, kind, twist = self.project, template.split("/")[1], fault.get("kind")
        usual = project.action_ms
        if twist == "slow_action":
            project.action_ms = fault["ms"]
        try:
            if template == "/actions":
                return 200, {"actions": [project.get("actions", number) for number in query["id"]]}
            if method == "GET" and template == "/servers/{id}/actions":
                project.get("servers", arguments["id"])
                return 501, {"error": {"code": "not_implemented", "message": "not in this fake"}}
            if method == "GET" and not arguments:
                return 200, project.listing(kind, query)
            if method == "GET" and template == "/%s/{id}" % kind:
                name = {"primary_ips": "primary_ip"}.get(kind, kind.removesuffix("s"))
                return 200, {name: project.get(kind, arguments["id"])}
            if method == "PUT" and kind in project.tables:
                return 200, project.replace(kind, arguments["id"], body)
            if method == "DELETE" and kind in project.tables:
                answer = project.delete(kind, arguments["id"], twist)
                return (204 if answer is None else 200), answer
            if template.endswith("/actions/poweron"):
                return 201, project.power_on(project.get("servers", arguments["id"]))
            makers = {"/servers": lambda: project.create_server(body, twist),
                      "/ssh_keys": lambda: project.create_ssh_key(body),
                      "/firewalls": lambda: project.create_firewall(body)}
            if method == "POST" and template in makers:
                return 201, makers[template]()
            return 501, {"error": {"code": "not_implemented", "message": "not in this fake"}}
        finally:
            project.action_ms = usual


class HetznerHandler(Handler):
    fake = None

    def handle_request(self):
        address = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_LIMIT:
            self.close_connection = True
            return
        body = self.rfile.read(length).decode() if length else None
        extra, end = {}, None
        with self.fake.lock:
            if address.path.startswith("/_control/"):
                try:
                    name = address.path.removeprefix("/_control/")
                    status, answer = 200, self.fake.control(self.command, name, json.loads(body) if body else None)
                except Refused as refusal:
                    status, answer = refusal.status, {"error": refusal.message}
            else:
                query = urllib.parse.parse_qs(address.query, keep_blank_values=True)
                path = address.path.removeprefix("/v1") if address.path.startswith("/v1/") else "/no-version"
                status, answer, extra, end = self.fake.request(self.command, path, query, self.headers, body)
            text = "" if answer is None else answer if isinstance(answer, str) else json.dumps(answer)
        self.answer(status, text.encode(), extra, end)

    def answer(self, status, payload, extra, end):
        head = "HTTP/1.1 %d Answer\r\n" % status
        if status != 204:  # which has neither body nor type: the provider's CLI would try to read one
            head += "Content-Type: application/json\r\nContent-Length: %d\r\n" % len(payload)
        head += "".join("%s: %s\r\n" % item for item in extra.items()) + "\r\n"
        whole = head.encode() + payload
        if end in ("lost", "lost_before", "cut"):
            if end == "cut":
                self.connection.sendall(whole[:len(head) // 2])
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.connection.sendall(whole)

    do_GET = do_POST = do_PUT = do_DELETE = handle_request


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--token", default="test-token")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    HetznerHandler.fake = Fake(options.token)
    serve(Server(options.port, HetznerHandler))


if __name__ == "__main__":
    main()
