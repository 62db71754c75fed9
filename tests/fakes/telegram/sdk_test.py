#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# grammy against the fake. usage: sdk_test.py FOLDER (where npm may install it)
"""Without node or the packages the test is skipped, and the exit status says so."""
from fake_process import HERE, TOKEN, FakeProcess

from common.sdk import drive

drive(HERE, "grammy/out", FakeProcess, TOKEN, seconds=120)
