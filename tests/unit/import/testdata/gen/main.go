// Writes what the expression language of Argo Events 1.9.11 makes of events, for filter_vectors_test:
//
//	j PAYLOAD           an event of a source with jsonBody, in base64
//	r PAYLOAD           an event of a source without
//	e FILTER J... R...  a filter, in base64, and what it makes of each of them, in their order:
//	                    T true, F false, E it fails, so that Argo drops the event
//
// The filters are some by hand and some of a seeded grammar. To make the file anew:
// go run . > ../filter_vectors.txt
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"strings"

	"github.com/Masterminds/sprig/v3"
	"github.com/antonmedv/expr"
	"github.com/antonmedv/expr/builtin"
)

// As the source of the vectors has it: metadata = { team = "blue", "k.v" = "1" }.
var metadata = map[string]any{"team": "blue", "k.v": "1"}

var payloads = []string{
	``, `null`, `5`, `"str"`, `true`, `[]`, `[1,2]`, `{}`,
	`{"id":4,"name":"Joe","tags":["a","b"],"n":{"x":1,"y":null},"f":true,"s":"4"}`,
	`{"id":4.0,"name":"Ann","tags":[],"n":{"x":2.5,"y":"z"},"f":false,"s":"abc"}`,
	`{"id":-7,"name":"","tags":["b",3,null],"n":{},"f":null,"s":"-7"}`,
	`{"id":"4","name":4,"tags":"a","n":[1],"f":"true","s":3}`,
	`{"id":0,"name":"a.b","items":[{"x":1,"t":"a"},{"x":5,"t":"b"}],"n":{"x":{"z":1}},"s":"1e3"}`,
	`{"id":10,"name":"JOE","items":[{"x":"q"},{}],"tags":{"a":1},"n":null,"f":true,"s":" 5 "}`,
	`{"id":3,"name":"Joël","items":[[1]],"tags":[true,false],"n":{"x":-1,"y":{}},"s":"0x10"}`,
}

var raw = []string{"", "hello", "\x00\xff", `{"id":4}`}

var handmade = []string{
	`body.id == 4`, `(body.id == 4) && (body.name != 'Joe')`, `body.id == 4 || body.name == "Joe"`, `body.id != 4`, `body.n.x == 1`,
	`body.n.x != 1`, `body.n.x == 1 || body.id == 3`, `body.n.y == nil`, `body.n.y != nil`, `nil == body.n.y`, `body.f`, `!body.f`, `not body.f`,
	`body.f == true`, `body.f != true`, `body.f && body.id > 3`, `body.f || body.id > 3`, `body.id > 3 && body.f`, `body.id in [1, 2, 4]`,
	`body.id not in [1, 4]`, `not (body.id in [1, 4])`, `body.name in ["Joe", "Ann"]`, `body.name not in ["Joe", "Ann"]`, `body.name in ["Joe", 4]`,
	`body.id in 1..5`, `body.id in -7..4`, `body.n.x in 1..3`, `body.name contains "o"`, `body.name startsWith "J"`, `body.name endsWith "e"`,
	`not (body.name contains "o")`, `body.name not contains "o"`, `body.name contains "o" || body.name contains "n"`, `body.tags contains "a"`,
	`body.name matches "^J.*e$"`, `body.name matches "o(e|ë)"`, `!(body.name matches "^A")`, `body.name not matches '\\.'`, `"abc" contains body.s`,
	`body?.n?.x == 1`, `body.n?.x == 1`, `body.n?.x != 1`, `body?.n?.x?.z == 1`, `body.n?.y == nil`, `(body.n.y ?? "z") == "z"`, `(body.n?.y ?? 1) == 1`,
	`(body.f ?? true) == true`, `body.f ?? false`, `body.id + 1 == 5`, `body.id - 1 > 2`, `body.id * 2 == 8`, `body.id / 2 == 2`, `body.id ** 2 == 16`,
	`body.id ^ 2 == 16`, `-body.id == 7`, `+body.id == 4`, `1 + 2 * 3 == 7 && body.id == 4`, `int(body.id) % 3 == 1`, `int(body.id) % 3 == -1`,
	`asInt(body.s) == 4`, `asFloat(body.s) > 3`, `int(body.s) < 5`, `float(body.s) == 1000`, `body.name + "x" == "Joex"`, `"x" + body.name == "xJoe"`,
	`body.name + body.s == "Joe4"`, `body.id + body.n.x > 4`, `body.id + body.name == 1`, `body.id == body.n.x`, `body.id != body.n.x`, `body.tags == body.tags`,
	`body.n == body.n`, `body.name == body.s`, `body.name < body.s`, `body.id < body.n.x`, `body.name < "K"`, `body.name >= "A"`, `body.id >= 4`, `body.id <= 4.5`,
	`4 < body.id`, `body.id < "5"`, `any(body.items, .x > 1)`, `any(body.items, {.x > 1})`, `any(body.items, {#.x == 5})`, `all(body.items, .x > 0)`,
	`none(body.items, .x == 1)`, `one(body.items, .x == 1)`, `count(body.items, .x == 1) == 1`, `len(filter(body.items, {.x > 0})) == 2`,
	`any(body.tags, {# == "a"})`, `all(body.tags, {# != "a"})`, `any(body.tags, # in ["a", "b"])`, `any(body.tags, # startsWith "b")`,
	`any(body.items, {.x == 1}) || body.id == 3`, `not any(body.tags, # == "a")`, `any(body.items, any(#, # == 1))`, `len(body.tags) > 1`, `len(body.name) == 3`,
	`len(body.tags) == 0`, `len(body.n) == 2`, `len(body) > 3`, `body.tags[0] == "a"`, `body.tags[1] == 3`, `body.tags[-1] == "b"`, `body.tags[0] != "a"`,
	`body["id"] == 4`, `body["na" + "me"] == "Joe"`, `body.items[0].x == 1`, `body.items[1]["t"] == "b"`, `body.name[0] == 74`, `body.id == 4 ? body.f : body.id == 3`,
	`(body.f ? 1 : 2) == 1`, `body.f == true ? "a" : "b"`, `lower(body.name) == "joe"`, `upper(body.name) == "JOE"`, `lower(body.name) contains "o"`,
	`body.name | lower() == "joe"`, `sprig.lower(body.name) == "joe"`, `sprig.contains("o", body.name)`, `sprig.hasPrefix("J", body.name)`,
	`hasPrefix(body.name, "J")`, `toBase64(body.name) == "Sm9l"`, `fromBase64("Sm9l") == body.name`, `fromJSON(body.s) == 4`, `fromJSON("{\"x\":4}").x == body.id`,
	`abs(body.id) == 7`, `metadata.team == "blue"`, `metadata.team != "blue"`, `metadata["k.v"] == "1"`, `metadata.none == nil`, `metadata.none == "x"`,
	`metadata.team == "blue" && body.id == 4`, `metadata.team startsWith "b" || body.id == 4`, `"a" in body.tags`, `id == 4`, `true`, `false`, `nil`, `body`, `4`, `"x"`,
	`body == nil`, `body != nil`, `body == "str"`, `body == 5`, `body > 4`, `body contains "t"`, `body == "aGVsbG8="`, `body != "aGVsbG8="`, `body startsWith "aGV"`,
	`len(body) == 8`, `fromBase64(body) == "hello"`, `sprig.b64enc(body) == "x"`, `fromJSON(fromBase64(body)).id == 4`, `not true`, `1 == 1.0`, `1 < 2 and body.id == 4`,
	`body.id == 4 and not (body.f == false)`, `body.id == 4 or body.id == 3 or body.id == 10`, `body.n.x == 1 or body.n.x == 2.5`, `body.n.x == 1 or body.n.y == "z"`,
	`!(body.id == 4 || body.id == 3) && body.name != ""`, `body.id > 0 == true`, `(body.id > 0) == body.f`, `(body.id > 0) != (body.n.x > 0)`, `body.id == 0x4`,
	`body.id == 4e0`, `body.id == 1_0`, `body.name == 'Jo\u00ebl'`, `body.name == "a\x2eb"`, `body.tags == ["a", "b"]`, `let x = body.id; x == 4`, `body.name[0:1] == "J"`,
	`body.id == 4 // only those`, `body.id /* the id */ == 4`, `body.id == -7`, `body.id == - 7`, `body.not == nil`, `body.in == nil`, `body.end == nil`, `body.function != 1`,
	`2 ** 3 ** 2 == 512 and body.id == 4`, `-2 ** 2 == -4 and body.id == 4`, `10 - 4 - 3 == 3 and body.id == 4`, `7 / 2 == 3.5 and body.id == 4`, `7 % 4 == 3 and body.id == 4`,
	`not body.f == true`, `not body.name contains "o"`, `body.id + 1 not in [5]`, `1 in [1, 2] and body.id == 4`, `"" == body.name`, `body.name == "" or body.name == nil`,
	`body.f == nil or body.f == false`, `body.n.x.z == 1`, `body.n.x.z == 1 || body.id == 4`, `body.id == 4 || body.n.x.z == 1`, `body.n.x > 1 || body.id == 4`,
	`body.name in [""]`, `body.name in ["", "Joe"]`, `body.n.y in ["z"]`, `body.n.y in ["z"] || body.id == 4`, `body.n.y in ["z", 1] || body.id == 4`,
	`body.s matches "^[0-9]+$" && int(body.s) > 3`, `body.s matches body.name`, `(body.id == 4) == (body.name == "Joe")`, `max(body.id, 3) == 4`, `trim(body.s) == "5"`,
}

func pick(r *rand.Rand, of ...string) string { return of[r.Intn(len(of))] }

func path(r *rand.Rand) string {
	return pick(r, "body.id", "body.name", "body.n.x", "body.n.y", "body.f", "body.s", "body.tags", "body.n", "body?.n?.x", "body.n?.y", "metadata.team", "body.items", `body["id"]`,
		"body.tags[0]", "body.items[0].x", "body.x.y", "body")
}

func literal(r *rand.Rand) string {
	return pick(r, "4", "0", "-7", "2.5", `"Joe"`, `"a"`, `""`, "true", "false", "nil", `"4"`)
}

func value(r *rand.Rand, depth int) string {
	if depth > 0 && r.Intn(4) == 0 {
		switch r.Intn(6) {
		case 0:
			return "(" + value(r, depth-1) + pick(r, " + ", " - ", " * ", " / ") + value(r, depth-1) + ")"
		case 1:
			return "(" + path(r) + " ?? " + literal(r) + ")"
		case 2:
			return pick(r, "lower", "upper", "len", "int", "float", "asInt", "asFloat") + "(" + path(r) + ")"
		case 3:
			return "(" + condition(r, depth-1) + " ? " + value(r, depth-1) + " : " + value(r, depth-1) + ")"
		case 4:
			return "len(filter(body.items, {.x " + pick(r, "> 1", "== 1", "!= nil") + "}))"
		default:
			return "(" + condition(r, depth-1) + ")"
		}
	}
	if r.Intn(3) == 0 {
		return literal(r)
	}
	return path(r)
}

// What is made of literals alone is worked out beforehand, and what stands beside it then left out.
func left(r *rand.Rand, depth int) string {
	for {
		if v := value(r, depth); strings.Contains(v, "body") {
			return v
		}
	}
}

func condition(r *rand.Rand, depth int) string {
	if depth > 0 && r.Intn(2) == 0 {
		switch r.Intn(5) {
		case 0, 1:
			return "(" + condition(r, depth-1) + pick(r, " && ", " and ") + condition(r, depth-1) + ")"
		case 2, 3:
			return "(" + condition(r, depth-1) + pick(r, " || ", " or ") + condition(r, depth-1) + ")"
		default:
			return pick(r, "!", "not ") + "(" + condition(r, depth-1) + ")"
		}
	}
	switch r.Intn(10) {
	case 0, 1, 2:
		return path(r) + pick(r, " == ", " != ") + literal(r)
	case 3:
		return left(r, depth) + pick(r, " == ", " != ", " < ", " > ", " <= ", " >= ") + value(r, depth)
	case 4:
		return path(r) + pick(r, " < ", " > ", " <= ", " >= ") + literal(r)
	case 5:
		return path(r) + pick(r, " contains ", " startsWith ", " endsWith ", " matches ") + pick(r, `"o"`, `"J"`, `"4"`, `""`)
	case 6:
		return path(r) + pick(r, " in ", " not in ") + pick(r, `["Joe", "a"]`, `[4, 2.5]`, `["4", 4, true]`, "1..4", `["blue"]`)
	case 7:
		return pick(r, "any", "all", "none", "one") + "(" + pick(r, "body.items", "body.tags") + ", {" +
			pick(r, ".x > 1", "# == \"a\"", ".x == 1 || .t == \"b\"", "# != nil", ".x != 1", "#.t startsWith \"a\"") + "})"
	case 8:
		return path(r)
	default:
		return left(r, depth) + pick(r, " == ", " != ") + literal(r)
	}
}

func evaluate(filter string, payload string, jsonBody bool) string {
	data := map[string]any{"metadata": metadata, "body": nil}
	if payload != "" {
		if jsonBody {
			data["body"] = json.RawMessage(payload)
		} else {
			data["body"] = []byte(payload)
		}
	}
	text, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	env := map[string]any{}
	if err := json.Unmarshal(text, &env); err != nil {
		panic(err)
	}
	functions := sprig.GenericFuncMap()
	env["asInt"], env["asFloat"], env["sprig"] = builtin.Int, builtin.Float, functions
	result, err := expr.Eval(filter, env)
	if err != nil {
		return "E"
	}
	switch result {
	case true:
		return "T"
	case false:
		return "F"
	}
	return "E"
}

func main() {
	seed := flag.Int64("seed", 20261126, "of the grammar")
	count := flag.Int("count", 3000, "how many filters of the grammar")
	flag.Parse()
	r := rand.New(rand.NewSource(*seed))
	filters := append([]string{}, handmade...)
	for i := 0; i < *count; i++ {
		filters = append(filters, condition(r, 3))
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encode := base64.StdEncoding.EncodeToString
	for _, payload := range payloads {
		fmt.Fprintf(out, "j %s\n", encode([]byte(payload)))
	}
	for _, payload := range raw {
		fmt.Fprintf(out, "r %s\n", encode([]byte(payload)))
	}
	for i, filter := range filters {
		with, without := "", ""
		for _, payload := range payloads {
			with += evaluate(filter, payload, true)
		}
		for _, payload := range raw {
			without += evaluate(filter, payload, false)
		}
		// Of those that fail for every event a few are enough.
		if i < len(handmade) || strings.Trim(with, "E") != "" || i%20 == 0 {
			fmt.Fprintf(out, "e %s %s %s\n", encode([]byte(filter)), with, without)
		}
	}
}
