#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Verifies what a webhook sent by the reference library of Standard Webhooks, which is not ours.
"""webhook_verify.py POSTS.json SECRET     POSTS.json: objects with body, webhook-id, webhook-timestamp, webhook-signature"""
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

with open(sys.argv[1], encoding="utf-8") as file:
    posts = json.load(file)
webhook = Webhook(sys.argv[2])
for post in posts:
    headers = {name: value for name, value in post.items() if name.startswith("webhook-")}
    webhook.verify(post["body"], headers)
    try:
        webhook.verify(post["body"] + " ", headers)
    except WebhookVerificationError:
        continue
    sys.exit("a changed body was taken")
print(len(posts), "verified")
