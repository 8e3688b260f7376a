#!/usr/bin/env python3
"""Counts, on its own, what each cleaning rule of a dataset drops, and what the split holds out.

Written from the text of the dataset reference, not from the program: plain lists and dictionaries, everything in memory.
Takes a JSON object on standard input and prints one:

    python3 worker/data/tests/count.py < case.json

Input: file (a path, or a list of them), separator, columns {user, item, time, event_id?, numeric?: [name]}, time_format
(seconds, or iso for dates and ISO 8601), and the rules as the dataset file names them. Output: rows_in, rows_out, dropped {rule: rows}, train, valid, test, items, unknown (events with a rare item).
"""

import json
import math
import sys
from collections import Counter, defaultdict, deque
from datetime import datetime, timedelta, timezone

MISSING = {"", "NA", "null", "NULL", "None"}


def single_rows(case, dropped):
    """Rows that pass the rules on single rows, as (user, item, time in ms, id), in the order of the file."""
    columns, rules = case["columns"], case["rules"]
    rows, rows_in = [], 0
    files = case["file"] if isinstance(case["file"], list) else [case["file"]]
    for path in files:
        with open(path, encoding="utf-8") as file:
            names = next(file).rstrip("\r\n").split(case["separator"])
            for line in file:
                line = line.rstrip("\r\n")
                if not line:
                    continue
                rows_in += 1
                values = dict(zip(names, line.split(case["separator"])))
                rule, row = judge(values, columns, rules, case.get("time_format", "seconds"))
                if rule:
                    dropped[rule] += 1
                else:
                    rows.append(row)
    return rows_in, rows


def millis(text, time_format):
    if time_format == "seconds":
        return round(float(text) * 1000)
    time = datetime.fromisoformat(text)
    time = time if time.tzinfo else time.replace(tzinfo=timezone.utc)
    return (time - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)


def judge(values, columns, rules, time_format):
    user, item = values[columns["user"]], values[columns["item"]]
    if user in MISSING:
        return "missing_user", None
    if item in MISSING:
        return "missing_item", None
    if values[columns["time"]] in MISSING:
        return "missing_time", None
    try:
        time = millis(values[columns["time"]], time_format)
    except ValueError:
        return "invalid", None
    if not rules["min_time"] <= time <= rules["max_time"]:
        return "impossible_time", None
    event_id = values[columns["event_id"]] if "event_id" in columns else ""
    for name in columns.get("numeric", []):
        if values[name] in MISSING:
            if name in rules.get("required", []):
                return "missing_" + name, None
            continue
        try:
            number = float(values[name])
        except ValueError:
            return "invalid", None
        low, high = rules.get("ranges", {}).get(name, (-math.inf, math.inf))
        if not low <= number <= high:
            return "out_of_range_" + name, None
    return None, (user, item, time, event_id)


def without_repeats(rows, rules, dropped):
    """The events (item, time) of each user in the order of time."""
    users, ids = defaultdict(list), set()
    for user, item, time, event_id in rows:
        if event_id not in MISSING:
            if (user, event_id) in ids:
                dropped["repeated_event_id"] += 1
                continue
            ids.add((user, event_id))
        users[user].append((item, time))
    for user, events in users.items():
        events.sort(key=lambda event: event[1])
        kept, seen, last, before = [], set(), {}, None
        kind = rules.get("duplicates", "exact")
        for item, time in events:
            repeats = {
                "keep": False,
                "exact": (item, time) in seen,
                "consecutive": item == before,
                "repeats": any(item == other for other, _ in seen),
            }[kind]
            before = item
            seen.add((item, time))
            if repeats:
                dropped["duplicate"] += 1
                continue
            near = rules.get("near_duplicates", 0)
            if near and item in last and time - last[item] <= near:
                dropped["near_duplicate"] += 1
                continue
            last[item] = time
            kept.append((item, time))
        users[user] = kept
    return users


def without_bots(users, rules, dropped):
    rates = [(most, span) for most, span in rules.get("rates", [])]
    longest, cuts = rules.get("max_events"), rules.get("cut", False)
    for user, events in users.items():
        if cuts:
            windows, kept = [deque() for _ in rates], []
            for item, time in events:
                full = False
                for (most, span), window in zip(rates, windows):
                    while window and time - window[0] >= span:
                        window.popleft()
                    full = full or len(window) >= most
                if full:
                    dropped["bot_rate"] += 1
                    continue
                for window in windows:
                    window.append(time)
                kept.append((item, time))
            if longest is not None and len(kept) > longest:
                dropped["bot_length"] += len(kept) - longest
                kept = kept[len(kept) - longest :]
            users[user] = kept
            continue
        times = [time for _, time in events]
        fast = any(
            times[at + most] - times[at] < span for most, span in rates for at in range(len(times) - most)
        )
        if fast:
            dropped["bot_rate"] += len(events)
            users[user] = []
        elif longest is not None and len(events) > longest:
            dropped["bot_length"] += len(events)
            users[user] = []
    return users


def core(users, rules, dropped):
    least_user, least_item = rules.get("min_user_events", 1), rules.get("min_item_events", 1)
    dead, changed = set(), True
    while changed:
        counts = Counter()
        for events in users.values():
            alive = [item for item, _ in events if item not in dead]
            if len(alive) >= least_user:
                counts.update(alive)
        fresh = {item for events in users.values() for item, _ in events if item not in dead and counts[item] < least_item}
        changed = bool(fresh) and least_item > 1
        dead |= fresh if changed else set()
    for user, events in users.items():
        kept = [event for event in events if event[0] not in dead]
        dropped["rare_item"] += len(events) - len(kept)
        if len(kept) < least_user:
            dropped["rare_user"] += len(kept)
            kept = []
        most = rules.get("max_user_events")
        if most is not None and len(kept) > most:
            dropped["over_max_user_events"] += len(kept) - most
            kept = kept[len(kept) - most :]
        if len(kept) < rules.get("min_events", 1):
            dropped["short_sequence"] += len(kept)
            kept = []
        users[user] = kept
    return {user: events for user, events in users.items() if events}


def split(users, rules):
    """Events of training, and held-out events, by time or leaving one out."""
    by_time = rules.get("split") == "time"
    times = sorted(time for events in users.values() for _, time in events)
    start = []
    for share in (rules["valid"] + rules["test"], rules["test"]) if by_time else ():
        rank = len(times) - math.floor(len(times) * share)
        start.append(times[rank] if rank < len(times) else times[-1] + 1)
    train, held = {}, {"valid": [], "test": []}
    for user, events in users.items():
        if not by_time:
            cut = len(events) - 2 if len(events) >= 3 else len(events)
            train[user] = events[:cut]
            for part, event in zip(("valid", "test"), events[cut:]):
                held[part].append(event[0])
            continue
        train[user] = [event for event in events if event[1] < start[0]]
        for part, low, high in (("valid", start[0], start[1]), ("test", start[1], math.inf)):
            first = next((at for at, event in enumerate(events) if low <= event[1] < high), None)
            if first:
                held[part].append(events[first][0])
    return train, held


def main():
    case = json.load(sys.stdin)
    rules, dropped = case["rules"], Counter()
    rows_in, rows = single_rows(case, dropped)
    users = core(without_bots(without_repeats(rows, rules, dropped), rules, dropped), rules, dropped)
    train, held = split(users, rules)
    counts = Counter(item for events in train.values() for item, _ in events)
    least = rules.get("min_train_events", 0)
    all_items = [item for events in users.values() for item, _ in events]
    known = {item for item in all_items if counts[item] >= least}
    result = {
        "rows_in": rows_in,
        "rows_out": len(all_items),
        "dropped": {rule: rows for rule, rows in dropped.items() if rows},
        "train": sum(counts.values()),
        "valid": sum(item in known for item in held["valid"]),
        "test": sum(item in known for item in held["test"]),
        "items": len(known) + (1 if least else 0),
        "unknown": sum(item not in known for item in all_items),
    }
    print(json.dumps(result))


main()
