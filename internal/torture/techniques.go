package main

import "github.com/pollackq/pollack/internal/torture/attack"

// techniques are all there are, in the order in which they run.
var techniques = []*attack.Technique{}
