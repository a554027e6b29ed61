import unittest

import app
import waft


class Test(unittest.TestCase):
    def test_it_greets(self):
        code, result = waft.Fake().run(app.Run(), name="you")
        self.assertEqual((code, result["msg"]), (0, "Hello, you!"))

    def test_somebody_has_to_be_named(self):
        code, result = waft.Fake().run(app.Run())
        self.assertEqual((code, result["error"]["code"]), (2, "params.name"))
