"""What a sink's ports tell their clients, and what our frontend says it keeps: told.py NODE

Prints 'told N ns' for each port and 'kept N ms'. By pw-dump, not by our own code. PipeWire 1.4
shows Latency at ports only, 0.3.65 at nodes too.
"""

import json
import subprocess
import sys

text = subprocess.run(["pw-dump"], capture_output=True, check=True, text=True).stdout
by_id = {}
while text.strip():  # an array, and one more for what changes meanwhile
    array, end = json.JSONDecoder().raw_decode(text.lstrip())
    by_id.update({thing["id"]: thing for thing in array if thing.get("type")})
    text = text.lstrip()[end:]
objects = list(by_id.values())
for node in objects:
    properties = (node.get("info") or {}).get("props") or {}
    if node["type"] != "PipeWire:Interface:Node" or properties.get("node.name") != sys.argv[1]:
        continue
    print("kept", properties.get("xenpv.delay-ms"), "ms")
    for port in objects:
        info = port.get("info") or {}
        if port["type"] != "PipeWire:Interface:Port" or info.get("direction") != "input":
            continue
        if info["props"].get("node.id") == node["id"]:
            for latency in info["params"].get("Latency", []):
                if latency["direction"] == "Input":
                    print("told", latency["minNs"], "ns")
                    print("told", latency["maxNs"], "ns")
