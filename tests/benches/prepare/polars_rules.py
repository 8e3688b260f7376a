"""The rules of the benchmark in Polars: LOG OUT MEMORY THREADS; prints what is left as JSON. Polars knows no bound of memory: where the
address space that the last argument, in GiB, allows is not enough, the run fails and leaves the machine alone."""

import json
import os
import resource
import sys

log, out, _, threads = sys.argv[1:5]
most = int(os.environ.get("POLARS_MOST_GIB", "12")) << 30
resource.setrlimit(resource.RLIMIT_DATA, (most, most))
os.environ["POLARS_MAX_THREADS"] = threads

import polars as pl  # noqa: E402, the threads are read when it is imported

os.makedirs(out)
if "csv" in os.path.basename(log):
    types = {name: pl.String for name in ("event_id", "user", "item", "session", "event", "category")}
    types |= {"timestamp": pl.Int64, "price": pl.Float64, "rating": pl.Float64}
    # Words in columns of numbers become missing values; which of them were words is looked for in the text.
    text = {name: pl.String for name in types}
    rows = pl.scan_csv(f"{log}/events-*.csv", schema=text, truncate_ragged_lines=True, encoding="utf8-lossy")
    is_word = pl.lit(False)
    for name in ("timestamp", "price"):
        is_word |= pl.col(name).is_not_null() & (pl.col(name) != "") & pl.col(name).cast(types[name], strict=False).is_null()
    # A line that is cut or too long has lost its event, or has more than one field too many.
    rows = rows.filter(~is_word & pl.col("event").is_not_null() & ~pl.col("user").str.contains("\ufffd"))
    rows = rows.with_columns(pl.col(name).cast(types[name], strict=False) for name in ("timestamp", "price"))
else:
    rows = pl.scan_parquet(f"{log}/events-*.parquet")
missing = ["", "NA", "null", "NULL", "None"]
price = pl.col("price")
events = (
    rows.select("user", "item", "timestamp", "event", "category", "price")
    .filter(
        pl.col("user").is_not_null() & ~pl.col("user").is_in(missing) & (pl.col("user").str.len_bytes() <= 1024),
        pl.col("item").is_not_null() & ~pl.col("item").is_in(missing),
        pl.col("timestamp").is_between(1735689600000, 1767398400000),
        price.is_null() | (price.is_not_nan() & price.is_between(0, 100000)),
    )
    .unique(subset=["user", "item", "timestamp", "event"])
    .collect(engine="streaming")
)
while True:
    before = len(events)
    for key in ("user", "item"):
        events = events.filter(pl.len().over(key) >= 5)
    if len(events) == before:
        break
events = events.with_columns(part=pl.col("user").hash() % 64).sort("part", "user", "timestamp")
for (part,), rows in events.partition_by("part", as_dict=True).items():
    rows.write_parquet(f"{out}/part-{part}.parquet")
print(json.dumps({"events": len(events), "users": events["user"].n_unique(), "items": events["item"].n_unique()}))
