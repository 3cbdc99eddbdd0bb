"""What the host's user says while the backend runs: `orders` given, `consent` asked for by a
`notification`, a policy file changed (`policy_watch`, woken by `file_watch`), and the `answers` to
a question.

May use: what `backend` may.
"""
