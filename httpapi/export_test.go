package httpapi

import "strings"

// Operations returns the route table for the test that holds the OpenAPI document against it: "METHOD path" to the operation's name. HEAD goes without saying.
func Operations() map[string]string {
	out := make(map[string]string)
	for _, t := range table {
		name := t.name
		for m := range strings.FieldsSeq(t.methods) {
			if m == "HEAD" {
				continue
			}
			out[m+" "+t.path] = name
			name += "Post" // of those that have two, the second
		}
	}
	return out
}

// AppendJob is held against encoding/json.
var AppendJob = appendJob
