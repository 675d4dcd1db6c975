"""The speed layer: land a stream in the lake, keep predictions current from it, hand over between generations."""
