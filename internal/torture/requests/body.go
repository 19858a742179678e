package requests

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// A generator writes JSON after a schema, and breaks a rule of it where it is told to.
type generator struct {
	*rand.Rand
	world  *world
	of     string // the operation
	id     string // the job's that the request is about
	spoil  bool   // break something, once
	inList bool   // of acks, each of which is answered by itself: what one lacks does not have the request refused
	broken []string
}

// document writes a body: an object with most of the members that there may be.
func (g *generator) document(s *openapi3.Schema) []byte {
	if g.spoil && g.IntN(3) == 0 {
		return g.damaged(s)
	}
	return g.object(s, "")
}

// damaged writes a body that is wrong as a whole.
func (g *generator) damaged(s *openapi3.Schema) []byte {
	g.spoil = false
	body := g.object(s, "")
	inside := func(member string) []byte {
		if len(body) == 2 {
			return []byte("{" + member + "}")
		}
		return []byte("{" + member + "," + string(body[1:]))
	}
	must := func(what string, p []byte) []byte {
		g.broken = append(g.broken, what)
		return p
	}
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	switch g.IntN(16) {
	case 0:
		return must("it is cut", body[:1+g.IntN(len(body)-1)])
	case 1:
		return must("it is no object", []byte(one(g.Rand, "[]", `"x"`, "1", "null", "true", "[{}]", string(compact([]string{string(body)})))))
	case 2:
		return must("there is something after it", append(body, one(g.Rand, "x", "{}", "]", ",", "\x00")...))
	case 3:
		return must("it is not UTF-8", inside(`"x":"`+one(g.Rand, "\xff", "\xc0\xaf", "\xed\xa0\x80", "a\x80")+`"`))
	case 4:
		return must("it is nested too deep", inside(`"payload":`+deep(11_000)))
	case 5:
		return inside(`"x":` + deep(g.IntN(3000)))
	case 6:
		return must("it is too large", inside(`"x":"`+strings.Repeat("x", maxBody)+`"`))
	case 7:
		return must("it is not JSON", inside(one(g.Rand, `"x":NaN`, `"x":01`, `"x":+1`, `x:1`, `'x':1`, `"x":"a`+"\n"+`"`, `"x":"\q"`, `"x":"\u12"`,
			`/**/"x":1`, `"x":1,`, `"x"`, `"x":tru`)))
	case 8:
		return must("it has a BOM", append([]byte("\xef\xbb\xbf"), body...))
	case 9:
		return inside(string(g.members(s, true)))
	case 10:
		return inside(`"` + strings.Repeat("m", 1<<g.IntN(14)) + `":1`)
	case 11:
		return inside(`"x":"\ud800","\u0000":"\u0000"`)
	case 12:
		return inside(`"x":` + one(g.Rand, "1e999", "-1e-999", strings.Repeat("9", 5000), "0."+strings.Repeat("0", 5000)))
	case 13:
		return []byte(strings.ReplaceAll(string(body), ":", one(g.Rand, " : ", "\t:\r\n")))
	case 14:
		return []byte(strings.ToUpper(string(body)))
	}
	return nil
}

// object writes an object after its schema.
func (g *generator) object(s *openapi3.Schema, name string) []byte {
	return append(append([]byte("{"), g.members(s, false)...), '}')
}

// members writes the members of an object, or one twice.
func (g *generator) members(s *openapi3.Schema, twice bool) []byte {
	names := slices.Sorted(maps.Keys(s.Properties))
	if len(names) == 0 { // tags
		if s.AdditionalProperties.Schema != nil && g.spoil && g.IntN(2) == 0 {
			return append([]byte(`"a":`), g.value("tag", s.AdditionalProperties.Schema.Value)...)
		}
		return []byte(`"a":"b"`)
	}
	target := ""
	if g.spoil {
		target = one(g.Rand, names...)
	}
	var out []string
	for _, name := range names {
		if name != target && g.IntN(2) == 0 && !slices.Contains(s.Required, name) {
			continue
		}
		if s.Properties[name] == nil {
			continue
		}
		spoil := g.spoil
		g.spoil = spoil && name == target
		if g.spoil && slices.Contains(s.Required, name) && g.IntN(4) == 0 {
			if !g.inList {
				g.broken = append(g.broken, name+" is missing")
			}
			g.spoil = false
			continue
		}
		v := g.value(name, s.Properties[name].Value)
		g.spoil = spoil && name != target
		out = append(out, string(compact(name))+":"+string(v))
	}
	if twice && len(out) > 0 {
		out = append(out, one(g.Rand, out...))
	}
	return []byte(strings.Join(out, ","))
}

// value writes a value after its schema.
func (g *generator) value(name string, s *openapi3.Schema) []byte {
	if g.spoil && (!s.Type.Includes("object") && !s.Type.Includes("array") || g.IntN(3) == 0) {
		return g.spoiled(name, s)
	}
	switch {
	case name == "payload" || name == "result":
		return []byte(one(g.Rand, "1", `"x"`, "null", `{"a":[1,{"b":null}]}`, "[]", "1e300", `"\u2028"`))
	case s.Type.Includes("object"):
		return g.object(s, name)
	case s.Type.Includes("array"):
		g.inList = true
		v := g.value(name, s.Items.Value)
		g.inList = false
		return []byte("[" + string(v) + "]")
	case name == "lease_token":
		if t := g.world.tokens[g.id]; t != "" {
			return compact(t)
		}
		return []byte(`"00000000000000000000000000000001"`)
	case name == "id":
		return compact(one(g.Rand, g.id, "x"))
	case name == "object_key":
		return compact(one(g.Rand, g.world.keys...))
	case strings.HasSuffix(name, "_base64"):
		return []byte(`"YQ=="`)
	case name == "content_type":
		return []byte(`"application/json"`)
	case s.Format == "date-time":
		return []byte(`"2100-01-01T00:00:00Z"`)
	case strings.HasSuffix(name, "_seconds"):
		return []byte("40000")
	case name == "progress":
		return []byte("0.5")
	case s.Type.Includes("boolean"):
		return []byte("true")
	case s.Type.Includes("integer"), s.Type.Includes("number"):
		return []byte("3")
	}
	return compact(one(g.Rand, "a", "c:\\x/../y", "ä€𝄞", "<b>&", "\u202e\u2028"))
}

// spoiled writes a value that breaks a rule of its schema; if it is one that the server has to know it is noted as broken.
func (g *generator) spoiled(name string, s *openapi3.Schema) []byte {
	g.spoil = false
	must := func(v string) []byte {
		if name != "content_type" || g.of != "complete" || v[0] != '"' { // there it is not looked at where there is no result
			g.broken = append(g.broken, fmt.Sprintf("%s is %.60s", name, v))
		}
		return []byte(v)
	}
	var bad []string
	for kind, v := range map[string]string{"object": `{"a":1}`, "array": "[1]", "string": `"x"`, "number": "1", "boolean": "true"} {
		if !s.Type.Includes(kind) && !(kind == "number" && s.Type.Includes("integer")) {
			bad = append(bad, v)
		}
	}
	slices.Sort(bad)                                                                                             // of a map
	if number := s.Type.Includes("integer") || s.Type.Includes("number"); number && !s.Type.Includes("object") { // which is any JSON
		bad = append(bad, "1e999", "-1e999")
		if s.Type.Includes("integer") {
			bad = append(bad, "1.5", "99999999999999999999")
		}
		if s.Min != nil {
			bad = append(bad, fmt.Sprint(*s.Min-1), fmt.Sprint(*s.Min-1e18))
		}
		if s.Max != nil {
			bad = append(bad, fmt.Sprint(*s.Max+1), fmt.Sprint(*s.Max+1e18))
		}
	}
	if s.MaxLength != nil {
		bad = append(bad, string(compact(strings.Repeat("x", int(*s.MaxLength)+1))), string(compact(strings.Repeat("x", 40_000))))
	}
	if s.Format == "date-time" {
		bad = append(bad, `"now"`, `""`, `"2100-02-30T00:00:00Z"`, `"99999999-01-01T00:00:00Z"`)
	}
	if strings.HasSuffix(name, "_base64") {
		bad = append(bad, `"*"`, `"YQ"`, `"YQ==YQ=="`)
	}
	if s.MaxItems != nil {
		bad = append(bad, "["+strings.TrimSuffix(strings.Repeat(`{"id":"x"},`, int(*s.MaxItems)+1), ",")+"]")
	}
	if s.MinItems > 0 {
		bad = append(bad, "[]")
	}
	if len(bad) == 0 || g.IntN(6) == 0 { // what need not be refused
		return []byte(one(g.Rand, "null", `""`, `"\u0000"`, `"\ud800"`, string(compact(text(g.Rand)))))
	}
	return must(one(g.Rand, bad...))
}
