// Runs a program of Vector's remap language over events, a line of JSON each, with the library that Vector itself uses,
// compiled to WebAssembly (the npm package @bpinternal/verel): node vrl.js PROGRAM < events > events.
const fs = require('fs')
const vrl = require('@bpinternal/verel')

const program = fs.readFileSync(process.argv[2], 'utf8')
const { errors, warnings } = vrl.check(program)
for (const d of [...errors, ...warnings]) {
  console.error(vrl.formatDiagnostic(d))
}
if (errors.length > 0) {
  process.exit(1)
}
for (const line of fs.readFileSync(0, 'utf8').split('\n')) {
  if (line !== '') {
    console.log(JSON.stringify(vrl.execute(program, JSON.parse(line)).event))
  }
}
