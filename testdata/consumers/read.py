"""What the packages zat and zlogging read in the conn.log, http.log and dns.log of a folder: a line a row, as JSON.

    read.py zat|zlogging FOLDER
"""
import json, os, sys

COLUMNS = {
    "conn": ["ts", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "duration", "orig_bytes", "resp_bytes", "conn_state", "history"],
    "http": ["ts", "id.orig_h", "id.resp_p", "method", "host", "uri", "user_agent", "status_code", "response_body_len", "resp_mime_types"],
    "dns": ["ts", "id.orig_h", "query", "qtype_name", "rcode_name", "AA", "answers", "TTLs"],
}


def zat(path):
    from zat.zeek_log_reader import ZeekLogReader
    return ZeekLogReader(path).readrows()


def zlogging(path):
    import zlogging
    with open(path) as f:
        for row in zlogging.loads(f.read()).data:
            yield row.asdict()


def text(v):
    if isinstance(v, bytes):
        return v.decode()
    if hasattr(v, "value") and not isinstance(v, str):
        return str(v.value)
    if isinstance(v, (list, tuple)):
        return [text(x) for x in v]
    return str(v)


reader = {"zat": zat, "zlogging": zlogging}[sys.argv[1]]
for log, columns in COLUMNS.items():
    for row in reader(os.path.join(sys.argv[2], log + ".log")):
        print(json.dumps([log] + [text(row[c]) for c in columns]))
