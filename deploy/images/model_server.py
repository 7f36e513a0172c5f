#!/usr/bin/env python3
"""The embedded server as a command, in an image that holds no other part of Convoy."""

import sys

from serving.server import main

sys.exit(main())
