"""Write the file N times over as one Parquet folder, every copy with its own invoices and the same customers."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

source, target, copies = pq.read_table(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
target.mkdir(parents=True)
for copy in range(copies):
    invoice = pc.binary_join_element_wise(source["invoice"], pa.scalar(str(copy)), "-")
    table = source.set_column(source.column_names.index("invoice"), "invoice", invoice)
    # Spark reads no nanoseconds, which is what its own INT96 becomes here.
    pq.write_table(table, target / f"part-{copy:02d}.parquet", row_group_size=200_000, coerce_timestamps="us")
