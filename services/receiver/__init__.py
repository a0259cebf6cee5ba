"""The receiver: webhooks of other systems become events by a mapping, and go to the ledger over HTTP.

`signatures` and `bodies` are pure; `hooks` and `private_files` read files; `kept` is the file of what could not go on
yet; `posting` posts; `reception` joins them; `http` and `terminal` are its two faces.
"""
