package planted

// Faults are all there are.
var Faults = []*Fault{
	{
		Name: "no-sync", What: "commits are not synced (I1, I3)",
		File: "storage/boltstore/open.go", Old: "NoFreelistSync: true, FreelistType", New: "NoSync: true, NoFreelistSync: true, FreelistType",
		By: []string{},
	},
}
