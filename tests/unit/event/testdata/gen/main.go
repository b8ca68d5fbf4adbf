// Writes what Go's encoding/json and time make of seeded inputs, one a line, for event_test:
//
//   - PAYLOAD BODY     valid; BODY is the json.RawMessage marshalled, "=" when it is PAYLOAD itself
//   - PAYLOAD OFFSET   not valid; the byte offset of the fault
//     s TEXT STRING      TEXT marshalled as a string
//     t NANOSECONDS TIME since the Unix epoch, RFC 3339
//
// Payloads and texts are in base64. To make the file anew: go run . > ../go_vectors.txt
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"time"
)

var handmade = []string{
	`hello`, "\x00\xff\xfe", "{\"x\": 1,  \"h\":\"<b>&\u2028\"}", `{"b":1,"a":2,"b":3}`,
	`{"a":1e400,"b":12345678901234567890,"c":1.0,"d":-0,"e":1E+2}`, `"str"`, `5`, `null`,
	" [1 ,\n 2]\n", `{"a":"\ud800"}`, `{"ä":"€😀"}`, `not json`,
	" ", "\t\r\n ", "\v1", "\ufeff{}", "\x00", "1\x00", "1 2", "{}{}", "[]x", "nul", "nulL", "nullx",
	"tru", "true", "false", "fals", "truefalse", "-", "-a", "--1", "+1", "0", "-0", "00", "01", "-01", "0x1",
	"1.", "1.e1", ".5", "1.5", "1e", "1e+", "1e-", "1e+5", "1E5", "1e5.5", "1e05", "Infinity", "NaN", "1_0",
	`"`, `"\`, `"\"`, `"\u`, `"\u1`, `"\u12`, `"\u123`, `"\u1234`, `"\u1234"`, `"\u12G4"`, `"\x"`, `"\U0041"`,
	`"\ud800\udc00"`, `"\ud800\u0041"`, `"\udc00"`, `"\ud800\ud800\udc00"`, `"\ud800x"`, `"\ud800\u00"`, `"\ud800\uzzzz"`,
	"\"\n\"", "\"\t\"", "\"\x1f\"", "\"\x7f\"", "\"\xff\"", "\"\xc3\"", "\"\xe2\x80\"", "\"\xe2\x80\xa8\"",
	"\"\xe2\x80\xa9\xe2\x80\xa7\xe2\x80\xaa\"", "\"\xe2\xe2\x80\xa8\"", "\"\xf0\xe2\x80\xa8\"", "\"\xed\xa0\x80\"", "\"\xc0\x80\"",
	`'a'`, `{`, `}`, `[`, `]`, `{]`, `[}`, `{"`, `{"a`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{"a"}`,
	`{a:1}`, `{1:1}`, `{"a" :1}`, `{"a": 1}`, `{"a"::1}`, `{"a":1,,"b":2}`, `{,}`, `{ }`, "{\n}", `[ ]`, `[,]`, `[1,]`, `[1,,2]`, `[1 2]`,
	`[[[[]]]]`, `[{"a":[{}]}]`, `{"a":{"b":{}}}`, `[]]`, `{}}`, `"<>&"`, `["\u003c"]`, `[ "<" , ">" ]`, `{"<":"&"}`, "[1]\n\n", "\n\n[1]",
	`// c`, `{"a":1}//`, `"a" "b"`, `[true,false,null]`, `[true false]`, `""`, `{"":""}`, `"\/\b\f\n\r\t\\\""`,
}

var texts = []string{
	"", "plain", "<1>", "a&b", `"quoted"`, `back\slash`, "\b\f\n\r\t", "\x00\x01\x1f\x7f", "ä€😀", "\u2028\u2029\u2027",
	"\xff", "a\xc3", "\xe2\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf", "sixteen bytes ok<and more than these", "/",
}

func space(r *rand.Rand) string {
	if r.Intn(3) > 0 {
		return ""
	}
	return strings.Repeat(string(" \t\r\n"[r.Intn(4)]), 1+r.Intn(4))
}

func text(r *rand.Rand) string {
	pieces := []string{"a", "key", "the quick brown fox jumps", "<", ">", "&", "\u2028", "\u2029", "ä", "日本語", "😀", "\x7f",
		`\n`, `\"`, `\\`, `\/`, `\u00e4`, `\ud83d\ude00`, `\ud800`, "\xff", "\xe2\x80", "'"}
	var b strings.Builder
	for i := r.Intn(6); i > 0; i-- {
		b.WriteString(pieces[r.Intn(len(pieces))])
	}
	return b.String()
}

func value(r *rand.Rand, depth int) string {
	kind := r.Intn(9)
	if depth == 0 {
		kind = r.Intn(6)
	}
	switch kind {
	case 0:
		return []string{"true", "false", "null"}[r.Intn(3)]
	case 1, 2:
		return []string{"0", "-1", "17", "3.25", "-0.0", "1e9", "2E-7", "123456789012345678901234567890"}[r.Intn(8)]
	case 3, 4, 5:
		return `"` + text(r) + `"`
	}
	var b strings.Builder
	object := kind == 6 || kind == 7
	b.WriteString(map[bool]string{true: "{", false: "["}[object] + space(r))
	for i, n := 0, r.Intn(4); i < n; i++ {
		if i > 0 {
			b.WriteString("," + space(r))
		}
		if object {
			b.WriteString(`"` + text(r) + `"` + space(r) + ":" + space(r))
		}
		b.WriteString(value(r, depth-1) + space(r))
	}
	b.WriteString(map[bool]string{true: "}", false: "]"}[object])
	return b.String()
}

func mutate(r *rand.Rand, s string) string {
	b := []byte(s)
	for i := 1 + r.Intn(2); i > 0 && len(b) > 0; i-- {
		at := r.Intn(len(b))
		switch r.Intn(4) {
		case 0:
			b = append(b[:at:at], b[at+1:]...)
		case 1:
			b[at] = "{}[]:,\"\\eE+-.0u \x00\x1f\x80\xe2x"[r.Intn(21)]
		case 2:
			b = b[:at]
		case 3:
			b = append(b[:at:at], append([]byte{b[at]}, b[at:]...)...)
		}
	}
	return string(b)
}

func payload(out *bufio.Writer, s string) {
	coded := base64.StdEncoding.EncodeToString([]byte(s))
	var raw json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal([]byte(s), &raw); errors.As(err, &syntax) {
		// Go counts the offending byte, and takes the end for a space where it can.
		offset := syntax.Offset
		atEnd := strings.Contains(err.Error(), "invalid character ' '") && s[offset-1] != ' '
		if !atEnd && err.Error() != "unexpected end of JSON input" {
			offset--
		}
		fmt.Fprintln(out, "-", coded, offset)
		return
	} else if err != nil {
		panic(err)
	}
	body, err := json.Marshal(json.RawMessage(s))
	if err != nil {
		panic(err)
	}
	result := "="
	if !bytes.Equal(body, []byte(s)) {
		result = base64.StdEncoding.EncodeToString(body)
	}
	fmt.Fprintln(out, "+", coded, result)
}

func main() {
	n := flag.Int("n", 200, "random payloads")
	seed := flag.Int64("seed", 1, "")
	flag.Parse()
	r := rand.New(rand.NewSource(*seed))
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for _, s := range handmade {
		payload(out, s)
	}
	for i := 0; i < *n; i++ {
		s := space(r) + value(r, 3) + space(r)
		if i%2 == 1 {
			s = mutate(r, s)
		}
		if s != "" {
			payload(out, s)
		}
	}
	for i := 0; i < *n/8; i++ {
		texts = append(texts, mutate(r, text(r)+text(r)))
	}
	for _, s := range texts {
		marshalled, _ := json.Marshal(s)
		fmt.Fprintln(out, "s", base64.StdEncoding.EncodeToString([]byte("."+s)), base64.StdEncoding.EncodeToString(marshalled))
	}
	for i := 0; i < *n/8; i++ {
		ns := r.Int63() >> r.Intn(8)
		switch i % 5 {
		case 1:
			ns -= ns % 1000000000
		case 2:
			ns -= ns % 1000000
		case 3:
			ns = -ns
		case 4:
			ns -= ns % 10
		}
		fmt.Fprintln(out, "t", ns, time.Unix(0, ns).UTC().Format(time.RFC3339Nano))
	}
}
