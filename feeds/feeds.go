// Package feeds brings feeds of indicators to where they are read: it lists the files that names in the configuration stand
// for.
//
// In: names of files, folders and patterns. Out: lists of files. It reads none of them and knows nothing of indicators:
// detectors/intel does.
package feeds
