"""The binding by itself, with a host that the test makes: what waft could not read of an answer."""

import unittest

import waft


class Answers(waft.Task):
    def __init__(self, answer):
        self.answer = answer

    def main(self, params):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Test(unittest.TestCase):
    def test_half_of_a_surrogate_pair_is_no_text(self):
        code, result = waft.Fake().run(Answers({"changed": True, "\ud83d": ["caf\udce9", "\u00e9\U0001f600"]}))
        self.assertEqual((code, result), (0, {"changed": True, "?": ["caf?", "\u00e9\U0001f600"]}))
        code, result = waft.Fake().run(Answers(waft.Problem("task.failed", "no \udce9", "have \udce9")))
        self.assertEqual((code, result["msg"], result["error"]["hint"]), (1, "no ?", "have ?"))

    def test_what_is_no_json_is_a_failure(self):
        for value in float("nan"), float("inf"), {1}:
            code, result = waft.Fake().run(Answers({"value": value}))
            self.assertEqual((code, result["error"]["code"]), (1, "waft.result"))
            self.assertTrue(result["msg"].startswith("the result is no JSON: "), result)
