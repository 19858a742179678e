package boltstore

// TinyOverlay returns the options with an overlay that has hardly any room, so that jobs are written back all the time.
func TinyOverlay(o *Options) *Options {
	var tiny Options
	if o != nil {
		tiny = *o
	}
	tiny.limits = limits{jobs: 3, bytes: 1 << 20, records: 5, journal: 1 << 20, quantum: 1}
	return &tiny
}
