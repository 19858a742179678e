// Package contract holds what the contract suites of the examples have in common: rules with ids, cases that name the rules they show, and a table of
// which are held. A suite runs over any store:
//
//	var suite = contract.New("compressor",
//		contract.Rule{ID: "S3-02", Says: "a submit is answered at once with an id and a status"},
//	)
//
//	func Run(t *testing.T, open contract.Opener) { suite.Run(t, open) }
//
//	func init() {
//		suite.Case("a submit is answered at once", "S3-02", func(t *testing.T, open contract.Opener) { ... })
//	}
//
// A case runs in a testing/synctest bubble, in which it opens its store and everything else, with HTTP over a pipenet.Network: hours take no time.
package contract
