#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Slack's own libraries against the fake. usage: sdk_test.py FOLDER (where npm may install them)
"""Without node or the packages the test is skipped, and the exit status says so."""
from fake_process import HERE, FakeProcess

from common.sdk import drive
from world import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET

drive(HERE, "@slack/bolt/dist", FakeProcess, BOT_TOKEN, APP_TOKEN, SIGNING_SECRET, seconds=120)
