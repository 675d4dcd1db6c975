"""What is published of UCI Online Retail, as every test of the segments case expects it."""

# Source: the published walkthrough, measured with pandas on UCI Online Retail.
SEGMENT_COUNTS = {
    "Hibernating": 1053,
    "Loyal Customers": 795,
    "Champions": 665,
    "At Risk": 603,
    "Potential Loyalists": 490,
    "About to Sleep": 369,
    "Need Attention": 190,
    "Promising": 97,
    "Can't Lose": 68,
    "New Customers": 42,
}
