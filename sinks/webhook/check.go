package webhook

// CheckHeaders says what is wrong with a file of header fields. Its errors do not show values.
func CheckHeaders(name string) error {
	_, err := readHeaders(name)
	return err
}
