"""One published item as both sides of the publishing bench send it."""

import json

OUTPUTS = json.dumps(
    {
        "features": {"recency": 302, "frequency": 35, "monetary": 5288.63},
        "prediction": {
            "cluster": 3, "segment": "Can't Lose", "r_score": 1, "f_score": 5, "m_score": 5, "rfm_score": "155"
        },
    },
    separators=(",", ":"),
)  # fmt: skip
STATE = json.dumps(
    {"frequency": ["536365", "536366", "536367", "536368"], "monetary": 5288630, "recency": 1291191960000000},
    separators=(",", ":"),
).encode()
