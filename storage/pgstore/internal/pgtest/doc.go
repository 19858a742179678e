// Package pgtest gives tests a PostgreSQL: databases of their own, servers that may be killed, a network that fails and a clock that jumps.
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
//	func TestX(t *testing.T) {
//		pool := pgtest.Pool(t)
//		...
//	}
//
// The server is the one that the usual variables name (PGHOST, PGPORT, PGDATABASE, PGSERVICE), whose user has to have the right to create databases; they
// are called pollack_test_ and something, and are dropped in the end. Else one is started from what is installed, of which Debian's package postgresql is
// enough, and ends with the tests: one for each test process. Without either tests are skipped; with CI set they fail.
package pgtest
