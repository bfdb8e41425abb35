package secrets

import "bytes"

// examples are values that a vendor's documentation shows, or that come with every copy of a program: everybody has
// them, and pages and settings for tests are full of them. What is kept is a part that is long enough to be no chance.
var examples = [...]string{
	"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG", // docs.aws.amazon.com, IAM
	"AKIAI44QH8DHBEXAMPLE", "je7MtGbClwBF/2Zp9Utk", // docs.aws.amazon.com, second user
	"4eC39HqLyjWDarjtT1zdp7dc",                                         // docs.stripe.com, the key of the test account
	"TYooMQauvdEDq54NiTphI7jx",                                         // docs.stripe.com, its public one
	"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT",                            // learn.microsoft.com, Azurite and the storage emulator
	"C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4Q",                            // learn.microsoft.com, the Cosmos DB emulator
	"SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",                      // jwt.io
	"TJVA95OrM7E2cBab30RMHrHDcEfxjoYZgeFONFH7HgQ",                      // jwt.io before 2018
	"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",                      // RFC 7515, appendix A.1
	"Q3AM3UQ867SPQQA43P2F", "zuf+tfteSlswRu7BJ86wekitnifILbZam1KYY3TG", // play.min.io
	"T00000000/B00000000", // docs.slack.dev, web hooks
}

// published says whether a value is one of these.
func published(v []byte) bool {
	if len(v) < 16 || len(v) > 1024 {
		return false
	}
	for _, e := range examples {
		if bytes.Contains(v, []byte(e)) {
			return true
		}
	}
	return false
}
