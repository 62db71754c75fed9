# SPDX-License-Identifier: Apache-2.0
# What the fakes share, so that each says only what its platform does.
