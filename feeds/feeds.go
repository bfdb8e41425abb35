// Package feeds brings feeds of indicators to where they are read.
//
// In: entries of the configuration. Files, folders and patterns are listed (List). Servers are asked (Fetch): TAXII 2.1,
// MISP's REST API, feeds as MISP publishes them, files by URL; and again and again (Keeper). Out: files, those of servers in
// a folder of the cache, each replaced as a whole when the server has given something that can be read. A server that is
// away, refuses, or gives what is broken, empty or too large leaves its cache as it is, and that is said once.
//
// Credentials come from files, are read anew for each question, and go to the server that the configuration names and to
// nobody that it leads to. The package knows nothing of indicators, which detectors/intel reads; Check asks it.
package feeds
