"""What the API must do, asked over the network as a client would."""
import os
import unittest
import urllib.request

API = os.environ["API"]


class Api(unittest.TestCase):
    def test_a_value_is_kept(self):
        urllib.request.urlopen(urllib.request.Request(f"{API}/answer", data=b"42", method="PUT")).close()
        with urllib.request.urlopen(f"{API}/answer") as response:
            self.assertEqual(response.read().decode(), os.environ["EXPECT"])


if __name__ == "__main__":
    unittest.main()
