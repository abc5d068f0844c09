#!/usr/bin/env python3
"""Writes what tests/bench/run match measures: events and the patterns asked of them, the same for the same numbers.

Usage: events.py FOLDER [LOTS] [BUS]

  lots.jsonl   LOTS events (default 213068) of 917 bytes, most of them lists of coordinates
  bus.jsonl    BUS events (default 50000) of 717 bytes, as an event bus has them
  rules.json   pattern texts by set: 14 kinds of operators and two mixtures of them for the lots, BUS_N and BUS_EXACT_N
               for the bus
"""

import json
import pathlib
import random
import sys

SEED = 1

STREETS = """ACADIA BLAKE BLANKEN BEACH BRYANT BRODERICK CABRILLO CALIFORNIA CASTRO CHESTNUT CLEMENT CLIPPER DIVISADERO DOLORES
DRUMM ELLIS EUREKA FILLMORE FOLSOM FULTON FUNSTON GEARY GOUGH GRANT GREEN HAIGHT HARRISON HOWARD HYDE IRVING JACKSON JEFFERSON
JONES JUDAH KEARNY KIRKHAM LAGUNA LAKE LARKIN LAWTON LINCOLN LOMBARD MASON MARKET MCALLISTER MISSION MORAGA NORIEGA OAK OCTAVIA
OFARRELL PACIFIC PINE POLK POST POWELL QUINTARA RHODE ISLAND RIVERA SANCHEZ SANTIAGO STOCKTON SUTTER TARAVAL TAYLOR TURK UNION
VALENCIA VALLEJO VAN NESS VICENTE WASHINGTON WAWONA WEBSTER YORK 3RD 9TH 12TH 17TH 19TH 24TH 25TH 30TH 41ST 45TH SAN DIEGO
BARTLETT CORTLAND KINGSTON FLEMING STERLING BROWNING SHERMAN GRIMM"""
KINDS = {"ST": 546, "AVE": 300, "BLVD": 40, "TER": 30, "WAY": 30, "DR": 34, None: 20}

DETAIL_TYPES = {
    "aws.ec2": "EC2 Instance State-change Notification",
    "aws.fis": "FIS Experiment State Change",
    "aws.cloudwatch": "CloudWatch Alarm State Change",
    "aws.codedeploy": "CodeDeploy Deployment State-change Notification",
    "aws.autoscaling": "EC2 Instance Launch Successful",
    "aws.health": "AWS Health Event",
    "aws.s3": "Object Created",
    "aws.ecs": "ECS Task State Change",
    "app.checkout": "Custom checkout",
    "app.billing": "Custom billing",
    "app.search": "Custom search",
    "app.auth": "Custom auth",
}
SOURCES = list(DETAIL_TYPES)
REGIONS = ["us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-2"]
ENVIRONMENTS = ["prod", "staging", "dev", "canary"]
TEAMS = ["core", "pay", "search", "growth", "infra", "data"]
STATES = ["running", "stopped", "failed", "pending", "completed", "SUCCESS", "FAILURE", "OK", "ALARM"]


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def lots(count):
    """Events of plots of land; each line is written by hand because numbers keep all their digits."""
    chance = random.Random(SEED)
    streets = STREETS.split()
    weights = [1.0 / (place + 3) ** 0.35 for place in range(len(streets))]
    chance.shuffle(streets)
    names = chance.choices(streets, weights, k=count)

    def point(x, y):
        return {"x": x, "y": y, "z": 0}

    for name in names:
        block, lot = f"{chance.randrange(1, 9000):04d}", f"{chance.randrange(1, 130):03d}"
        x, y = -122.36 - chance.random() * 0.155, 37.708 + chance.random() * 0.105
        corners = max(4, min(60, int(chance.gauss(10.5, 5))))
        ring = [point(x + chance.uniform(-4e-4, 4e-4), y + chance.uniform(-4e-4, 4e-4)) for _ in range(corners)]
        street = None if chance.random() < 0.005 else name
        kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
        number = None if chance.random() < 0.005 else str(chance.randrange(1, 3000))
        shape = "MultiPolygon" if chance.random() < 0.0006 else "Polygon"
        properties = {
            "MAPBLKLOT": block + lot,
            "BLKLOT": block + lot,
            "BLOCK_NUM": block,
            "LOT_NUM": lot,
            "FROM_ST": number,
            "TO_ST": number,
            "STREET": street,
            "ST_TYPE": kind,
            "ODD_EVEN": "EO"[chance.random() < 0.5],
        }
        geometry = {"type": shape, "firstCoordinates": ring[0], "coordinates": [*ring, ring[0]]}
        yield compact({"type": "Feature", "properties": properties, "geometry": geometry})


def lot_rules():
    def of(name):
        return lambda test: {"properties": {name: [test]}}

    def at(place, test, **beside):
        return {"geometry": {place: {"x": [test]}, **beside}}

    def but(test):
        return {"anything-but": test}

    street, lot, kind, number = of("STREET"), of("MAPBLKLOT"), of("ST_TYPE"), of("FROM_ST")

    def shape(test):
        return {"geometry": {"type": [test]}}

    def each(operator, tests):
        return [street({operator: test}) for test in tests]

    def folded(texts):
        return [{"equals-ignore-case": text} for text in texts]

    def all_but(operator, first, second, third, fourth, fifth):
        tests = [but({operator: test}) for test in (first, second, third, fourth, fifth)]
        return [of_what(test) for of_what, test in zip((street, street, kind, shape, number), tests)]

    first, more = "firstCoordinates", "coordinates"
    wild = ["88*", "3*1*4*9", "*117", "4*6*3"]
    sets = {
        "EXACT": [lot("5591071"), lot("2000100"), street("LAKE"), street("12TH"), kind("BLVD")],
        "WILDCARD": [*[lot({"wildcard": text}) for text in wild], street({"wildcard": "*A*ON"})],
        "PREFIX": each("prefix", ["CA", "CL", "MO", "GR", "SA"]),
        "PREFIX_EIC": each("prefix", folded(["cA", "Cl", "mo", "gR", "Sa"])),
        "SUFFIX": each("suffix", ["ER", "TH", "IA", "ORE", "ND"]),
        "SUFFIX_EIC": each("suffix", folded(["eR", "Th", "ia", "oRe", "Nd"])),
        "EIC": [*each("equals-ignore-case", ["castro", "Dolores", "eLLis", "van ness"]), kind({"equals-ignore-case": "ave"})],
        "NUMERIC": [
            at(first, {"numeric": [">", -122.40, "<", -122.39]}),
            at(first, {"numeric": ["<", -122.49]}, type=["Polygon"]),
            at(first, {"numeric": [">=", -122.41]}),
            at(first, {"numeric": [">", -122.5, "<=", -122.37]}),
            {"geometry": {"type": ["MultiPolygon"], first: {"z": [{"numeric": ["=", 0]}]}}},
        ],
        "AB": [
            street(but(["LAKE"])),
            street(but(["12TH", "3RD"])),
            kind(but("ST")),
            shape(but(["Polygon"])),
            number(but(["100"])),
        ],
        "AB_EIC": all_but("equals-ignore-case", ["Lake"], ["Oak", "pine"], "st", "POLYGON", ["100"]),
        "AB_PREFIX": all_but("prefix", "LA", "CA", "S", "Poly", "10"),
        "AB_SUFFIX": all_but("suffix", "TH", "ON", "T", "gon", "00"),
        "AB_WILDCARD": [lot(but({"wildcard": text})) for text in [*wild, "5*1"]],
        "COMPLEX_ARRAYS": [
            at(more, {"numeric": [">", -122.40, "<", -122.3995]}),
            at(more, {"numeric": ["<", -122.49]}, type=["Polygon"]),
            at(more, {"numeric": [">=", -122.41]}),
            {"geometry": {more: {"x": [{"numeric": ["<", -122.45]}], "y": [{"numeric": [">", 37.76]}]}}},
            {
                "geometry": {
                    "type": ["MultiPolygon"],
                    more: {"x": [{"numeric": [">", -122.45]}], "y": [{"numeric": ["<", 37.75]}]},
                }
            },
        ],
    }
    left_out = {"WILDCARD", "PREFIX_EIC", "SUFFIX", "SUFFIX_EIC", "EIC", "COMPLEX_ARRAYS"}
    some = [rule for name, rules in sets.items() if name not in left_out for rule in rules]
    sets["PARTIAL_COMBO"] = some
    sets["COMBO"] = [*some, *sets["COMPLEX_ARRAYS"]]
    return sets


def bus(count):
    chance = random.Random(SEED)
    for number in range(count):
        source, region = chance.choice(SOURCES), chance.choice(REGIONS)
        account, instance = f"{111122223333 + chance.randrange(20):012d}", f"i-{chance.getrandbits(60):017x}"
        detail = {
            "state": chance.choice(STATES),
            "service": f"svc-{chance.randrange(400)}",
            "env": chance.choice(ENVIRONMENTS),
            "team": chance.choice(TEAMS),
            "latencyMs": round(chance.expovariate(1 / 180), 3),
            "count": chance.randrange(0, 2000),
            "sourceIp": f"10.{chance.randrange(64)}.{chance.randrange(256)}.{chance.randrange(256)}",
            "path": f"/srv/{chance.choice(TEAMS)}/{chance.choice(ENVIRONMENTS)}/{chance.randrange(10**6)}.log",
        }
        tags = [
            ("Name", f"node-{chance.randrange(999)}"),
            ("env", chance.choice(ENVIRONMENTS)),
            ("ChaosReady", chance.choice(["true", "false"])),
        ]
        detail["tags"] = [{"Key": key, "Value": value} for key, value in tags][: chance.randrange(0, 4)]
        detail["instance"] = {
            "id": instance,
            "type": chance.choice(["m6i.large", "c7g.xlarge", "t3.small"]),
            "zone": region + chance.choice("abc"),
            "spot": chance.random() < 0.3,
        }
        detail["previous"] = {"state": chance.choice(STATES)}
        team, attempts, page = chance.choice(TEAMS), chance.randrange(5), chance.randrange(9999)
        detail["message"] = (
            f"event {number} handled by {team} after {attempts} attempts; see runbook RB-{page:04d} for details"
        )
        if chance.random() < 0.2:
            detail["rollback"] = {"reason": chance.choice(["health check failed", "manual", "alarm"])}
        parts = [chance.getrandbits(bits) for bits in (32, 16, 12, 12, 48)]
        moment = [chance.randrange(*bounds) for bounds in ((1, 13), (1, 29), (24,), (60,), (60,))]
        yield compact(
            {
                "version": "0",
                "id": "%08x-%04x-4%03x-a%03x-%012x" % tuple(parts),
                "detail-type": DETAIL_TYPES[source],
                "source": source,
                "account": account,
                "time": "2027-%02d-%02dT%02d:%02d:%02dZ" % tuple(moment),
                "region": region,
                "resources": [f"arn:aws:ec2:{region}:{account}:instance/{instance}"] if chance.random() < 0.8 else [],
                "detail": detail,
            }
        )


def bus_rule(chance, exact):
    source = chance.choice(SOURCES)
    rule = {"source": [source]}
    if chance.random() < 0.5:
        rule["detail-type"] = [DETAIL_TYPES[source]]
    detail = {"service": [f"svc-{chance.randrange(400)}"]}
    if exact:
        detail["state"] = chance.sample(STATES, chance.randrange(1, 3))
        detail["env"] = [chance.choice(ENVIRONMENTS)]
        return {**rule, "detail": detail}
    for condition in chance.sample(range(10), chance.randrange(1, 4)):
        match condition:
            case 0:
                detail["state"] = [{"anything-but": chance.sample(STATES, 2)}]
            case 1:
                detail["latencyMs"] = [{"numeric": [">", chance.randrange(50, 900)]}]
            case 2:
                detail["count"] = [{"numeric": [">=", chance.randrange(0, 1000), "<", chance.randrange(1001, 2000)]}]
            case 3:
                detail["env"] = [{"equals-ignore-case": chance.choice(ENVIRONMENTS).upper()}]
            case 4:
                detail["sourceIp"] = [{"cidr": f"10.{chance.randrange(64)}.0.0/{chance.choice([12, 16, 18])}"}]
            case 5:
                kind, zone = chance.choice(["m6", "c7", "t3"]), chance.choice("abc")
                detail["instance"] = {"type": [{"prefix": kind}], "zone": [{"suffix": zone}]}
            case 6:
                detail["rollback"] = {"reason": [{"exists": chance.random() < 0.3}]}
            case 7:
                detail["tags"] = {"Key": ["ChaosReady"], "Value": ["true"]}
            case 8:
                detail["team"] = chance.sample(TEAMS, 2)
            case _:
                rule["region"] = [{"prefix": chance.choice(["us-", "eu-"])}]
    return {**rule, "detail": detail}


def bus_rules():
    sets = {}
    for name, exact in (("BUS", False), ("BUS_EXACT", True)):
        chance = random.Random(SEED)
        rules = [bus_rule(chance, exact) for _ in range(10_000)]
        for count in (1, 10, 100, 1_000, 10_000):
            sets[f"{name}_{count}"] = rules[:count]
    return sets


def main():
    folder = pathlib.Path(sys.argv[1])
    counts = [int(text) for text in sys.argv[2:4]]
    lot_count, bus_count = [*counts, *(213_068, 50_000)[len(counts) :]]
    for name, lines in (("lots.jsonl", lots(lot_count)), ("bus.jsonl", bus(bus_count))):
        with (folder / name).open("w") as file:
            file.writelines(f"{line}\n" for line in lines)
    sets = {name: [compact(rule) for rule in rules] for name, rules in {**lot_rules(), **bus_rules()}.items()}
    (folder / "rules.json").write_text(json.dumps(sets, indent=0))


if __name__ == "__main__":
    main()
