# SPDX-License-Identifier: GPL-2.0-or-later
"""When qemu-blobstore refuses something, it says what docs/tool.md quotes, word for word."""

import unittest

from test_tool_blobs import KEYED, NEW_KEY, ToolTest
from messages import PageTest, provokes

PAGE = "tool.md"


class ToolPageTest(PageTest, unittest.TestCase):
    page = PAGE


class MessagesTest(ToolTest):
    def said(self, *commands):
        """The output of commands that fail."""
        said = ""
        for command, *arguments in commands:
            done = self.run_tool(command, *arguments, self.image_name)
            self.assertNotEqual(done.returncode, 0, arguments)
            said += done.stderr.decode()
        return said

    def said_of_blob(self, command, *arguments, name="dev/data"):
        """The name follows the image."""
        done = self.run_tool(command, *arguments, self.image_name, name, content=b"abcdef")
        self.assertNotEqual(done.returncode, 0, arguments)
        return done.stderr.decode()

    @provokes(PAGE, "how large is it to be?", "the image is blank", "the image is too small")
    def test_image_without_a_store(self):
        said = self.said(["create"])
        self.image_name = self.image(self.image_format)
        return said + self.said(["info"], ["create", "--required=8M"])

    @provokes(PAGE, "there is a store in the image already", "is no blob:", "there is no blob",
              "volatile blobs", "--max-size is less", "is not encrypted")
    def test_plain_store(self):
        self.tool("create", "--required=1M", self.image_name)
        return (self.said(["create"], ["decrypt"]) + self.said_of_blob("get", name="data") +
                self.said_of_blob("get") + self.said_of_blob("put", "--kind=volatile") +
                self.said_of_blob("put", "--max-size=1"))

    @provokes(PAGE, "is already encrypted", "no new key is given", "which key slot?",
              "that key slot is in use", "all key slots are in use")
    def test_sealed_store(self):
        self.tool("create", "--required=1M", *NEW_KEY, self.image_name)
        for _ in range(7):
            self.tool("key-add", *KEYED, *NEW_KEY[1:], self.image_name)
        return self.said(["encrypt", *KEYED, *NEW_KEY[1:]], ["rekey", *KEYED],
                         ["key-remove", *KEYED],
                         ["key-add", *KEYED, *NEW_KEY[1:], "--slot=0"],
                         ["key-add", *KEYED, *NEW_KEY[1:]])


if __name__ == "__main__":
    unittest.main()
