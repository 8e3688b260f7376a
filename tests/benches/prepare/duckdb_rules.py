"""The rules of the benchmark in DuckDB: LOG OUT MEMORY THREADS; prints what is left as JSON."""

import json
import os
import sys

import duckdb

log, out, memory, threads = sys.argv[1:5]
os.makedirs(out)
db = duckdb.connect(os.path.join(out, "work.db"))
db.execute(f"set threads = {threads}")
db.execute(f"set memory_limit = '{memory}'")
db.execute(f"set temp_directory = '{out}/spill'")
# Order is made by the sort at the end; without this setting, statements before it hold more in memory.
db.execute("set preserve_insertion_order = false")
csv = """read_csv('{}/events-*.csv', header = true, delim = ',', quote = '"', ignore_errors = true, columns = {{
    'event_id': 'VARCHAR', 'user': 'VARCHAR', 'item': 'VARCHAR', 'timestamp': 'BIGINT', 'session': 'VARCHAR',
    'event': 'VARCHAR', 'category': 'VARCHAR', 'price': 'DOUBLE', 'rating': 'DOUBLE'}})"""
source = csv.format(log) if "csv" in os.path.basename(log) else f"read_parquet('{log}/events-*.parquet')"
missing = "('', 'NA', 'null', 'NULL', 'None')"
db.execute(f"""
    create table events as
    select distinct on ("user", item, timestamp, event) "user", item, timestamp, event, category, price
    from {source}
    where "user" not in {missing} and length("user") <= 1024 and item not in {missing}
      and timestamp between 1735689600000 and 1767398400000
      and (price is null or (not isnan(price) and price between 0 and 100000))""")
while True:
    changed = False
    for key in ('"user"', "item"):
        rare = f"select {key} from events group by {key} having count(*) < 5"
        if db.execute(f"select exists ({rare})").fetchone()[0]:
            db.execute(f"create table kept as select * from events where {key} not in ({rare})")
            db.execute("drop table events")
            db.execute("alter table kept rename to events")
            changed = True
    if not changed:
        break
db.execute(f"""
    copy (select *, hash("user") % 64 as part from events order by part, "user", timestamp)
    to '{out}/parts' (format parquet, partition_by (part))""")
events, users, items = db.execute('select count(*), count(distinct "user"), count(distinct item) from events').fetchone()
assert len(os.listdir(f"{out}/parts")) == 64
print(json.dumps({"events": events, "users": users, "items": items}))
