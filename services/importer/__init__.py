"""The importer: rows of CSV and NDJSON files become events by a mapping, and go to the ledger over HTTP.

`mapping`, `recipes` and `translate` are pure; `document` and `rows` read files; `delivery` posts; `run` joins them.
"""
